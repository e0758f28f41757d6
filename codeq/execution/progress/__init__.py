"""What the terminal shows while a sweep runs: `feed` and `state` take events, `draw` makes text, `terminal` shows."""
