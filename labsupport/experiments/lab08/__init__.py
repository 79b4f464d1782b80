"""Lab 08: the long runs behind its figures."""
