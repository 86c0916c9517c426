"""Other papers' protocols, replayed on the outputs of a run; one file each."""
