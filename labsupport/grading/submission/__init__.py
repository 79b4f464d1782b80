"""One submitted notebook, from the file to its verdicts.

Rooms: ``submission`` (all of it: notebook in, graded notebook out), ``realign`` (a damaged notebook
gets the lab's form), ``passive`` (which cells need not be run) with ``drawing_names`` (what only
draws) and ``cell_code`` (what code says of itself), ``questions`` (what the kernel is asked),
``sanitise`` (no live script in what is shown), ``selfcheck`` (a student's own look). A name is
imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "selfcheck": ["CheckResult", "run_checks"],
        "submission": ["Graded", "grade_submission"],
    },
)
