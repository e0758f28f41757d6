"""Ray, started here or joined, and the files from which `ray up` starts clusters."""
