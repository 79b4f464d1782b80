"""Lab 03: the long runs behind its figures."""
