"""Lab 01: what its notebook uses and no other."""
