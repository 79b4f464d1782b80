"""Lab 02: the long runs behind its figures."""
