"""CoDeQ Tune: hyperparameter sweeps for joint pruning and quantization-aware training."""

__version__ = "0.1.0"
