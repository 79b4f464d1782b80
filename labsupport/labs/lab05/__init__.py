"""Lab 05: what its notebook uses and no other."""
