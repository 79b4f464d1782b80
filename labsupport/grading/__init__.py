"""Grading of submissions: execution is untrusted, judging is not.

Rooms, from below: `judging` (from answers to verdicts), `running` (execution within limits and a
sandbox), `submission` (one notebook, asked and judged), `workers` (many of them, side by side),
`ledger` (gradebook and grades), `collect` (from a learning platform), `export` (back to one),
`report` (statistics), `audit` (how strong the judges are), `demo` (a whole class to look at). A
room is imported when it is first used. All that runs in a student's kernel lies below, in
`labsupport.answers`.
"""

import lazy_loader

import labsupport.course  # noqa: F401  (before nbgrader: it makes that faster to import)

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "audit",
        "collect",
        "demo",
        "export",
        "judging",
        "ledger",
        "report",
        "running",
        "submission",
        "workers",
    ],
)
