"""Lab 01: the long runs behind its figures."""
