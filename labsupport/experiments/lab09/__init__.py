"""Lab 09: the long runs behind its figures."""
