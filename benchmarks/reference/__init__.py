"""How the method's older scripts train: plain PyTorch, kept as it was. Shares no code with `codeq`."""
