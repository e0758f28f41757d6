"""The files on disk: written atomically, one folder for each trial."""
