"""One submitted notebook, from the file to its verdicts."""
