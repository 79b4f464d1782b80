"""Lab 05: the long runs behind its figures."""
