"""Who does the steps of a run: this process, others on this machine, or a Ray cluster."""
