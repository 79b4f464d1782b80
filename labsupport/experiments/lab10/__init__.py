"""Lab 10: the long runs behind its figures."""
