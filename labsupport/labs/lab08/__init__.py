"""Lab 08: what its notebook uses and no other."""
