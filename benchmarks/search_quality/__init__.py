"""Measures how fast a search finds the Pareto front by replaying recorded trials: see `__main__`."""
