"""One submitted notebook, from the file to its verdicts.

Rooms: ``handed_in`` (a submission's folder, before it is opened), ``reading`` with ``mending`` (a
file becomes a notebook), ``submission`` (all of the rest: notebook in, graded notebook out),
``realign`` (a damaged notebook gets the lab's form) with ``pieces``, ``given_cells``,
``late_answers``, ``pictures`` and ``timing_magics``, ``passive`` (which cells need not be run) with
``drawing_names`` (what only draws) and ``cell_code`` (what code says of itself), ``questions``
(what the kernel is asked), ``causes`` (why an answer failed), ``sanitise`` (no live script in what
is shown), ``verdict_cells`` and ``points`` (what a graded cell shows, by what its lab gives now),
``selfcheck`` (a student's own look). A name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "selfcheck": ["CheckResult", "run_checks"],
        "submission": ["Graded", "grade_submission"],
    },
)
