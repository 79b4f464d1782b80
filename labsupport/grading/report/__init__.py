"""``labs report``: what a graded class says about its students, its exercises and its grading."""
