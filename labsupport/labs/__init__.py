"""What one lab's notebook uses and no other: a folder a lab."""
