"""Lab 07: what its notebook uses and no other."""
