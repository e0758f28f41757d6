"""The training of the method's older scripts in plain PyTorch. Shares no code with `codeq`."""
