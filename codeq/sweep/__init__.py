"""The sweep: Optuna proposes configs, Ray Tune trains them, an early stopper cuts the hopeless ones."""
