"""Run a notebook within limits, in a sandbox."""
