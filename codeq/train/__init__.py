"""The training loop that single runs and sweep trials share: losses, optimizer, metrics, checkpoints. No Ray."""
