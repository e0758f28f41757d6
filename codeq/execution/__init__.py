"""Running trials on Ray: Tune starts what `codeq.search` proposes, each trial in its own process or many in a pack."""
