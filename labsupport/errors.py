"""Errors that a user can mend: one line that says what is wrong, where, and how to mend it."""


class LabError(Exception):
    """What goes wrong for a reason that the user can mend. A command prints its line and ends with
    status 1; every other exception keeps its traceback."""
