"""Lab 06: what its notebook uses and no other."""
