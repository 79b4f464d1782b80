"""Lab 03: what its notebook uses and no other."""
