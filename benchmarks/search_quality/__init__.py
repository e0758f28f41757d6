"""How soon a search finds the front, replayed over recorded trials: see `__main__`."""
