"""From a lab's one source file to its notebooks."""
