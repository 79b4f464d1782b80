"""Lab 02: what its notebook uses and no other."""
