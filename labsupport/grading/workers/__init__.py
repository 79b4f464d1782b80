"""Submissions as tasks, spread over processes and machines."""
