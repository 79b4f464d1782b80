"""Lab 07: the long runs behind its figures."""
