"""From answers to verdicts, in the grader's own process."""
