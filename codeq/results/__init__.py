"""The results of a sweep: the table of its trials, the Pareto front, the winner as YAML that can be trained."""
