"""The search without Ray: what Optuna proposes, what it learns, which trials stop early, what a sweep has stored."""
