"""Lab 06: the long runs behind its figures."""
