"""Errors that a user can mend: one line that says what is wrong, where, and how to mend it."""


class LabError(Exception):
    """What goes wrong for a reason that the user can mend. A command prints its line, without a
    traceback, and ends with status 1."""


class CourseError(LabError):
    """Something about a course directory, or what grades it, that its user can mend."""


class SandboxError(LabError):
    """The sandbox cannot be had here, or did not work; its line says how to get it."""
