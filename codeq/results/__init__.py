"""What a sweep found: the table of its trials, the Pareto front, the winner as YAML that trains again."""
