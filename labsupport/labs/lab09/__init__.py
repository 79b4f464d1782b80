"""Lab 09: what its notebook uses and no other."""
