"""Grading of submissions: execution is untrusted, judging is not.

Rooms, from the student's kernel up: `answers` (all that runs in it), `judging` (from answers to
verdicts), `running` (execution within limits and a sandbox), `submission` (one notebook, asked and
judged), `workers` (many of them, side by side), `ledger` (gradebook and grades), `collect` (from a
learning platform), `report` (statistics), `audit` (how strong the judges are), `demo` (a whole
class to look at). A room is imported when it is first used: a student's kernel imports `answers`
and no other.
"""

import lazy_loader

import labsupport.course  # noqa: F401  (before nbgrader: it makes that faster to import)

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "answers",
        "audit",
        "collect",
        "demo",
        "judging",
        "ledger",
        "report",
        "running",
        "submission",
        "workers",
    ],
)
