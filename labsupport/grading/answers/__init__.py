"""All that runs in a student's kernel while it is graded."""
