"""What lies on disk: files replaced atomically, and the folder of each trial."""
