"""Records of a class: course directory, gradebook, grades.

Rooms of the course: ``course_directory`` (made, configured, released), ``settings``, ``gradebook``
(where it is), ``lock``, ``proof`` (that a lab can be graded), ``named`` (labs and students, as they
are called), ``due_dates``, ``exempting``.

Of a run: ``grades`` (what ``labs grade`` does), ``preprocessors`` (our steps in nbgrader's
pipeline), ``submitted`` and ``exporter`` (how it reads), ``store`` (results that are done stay
done), ``recording`` (grades into the gradebook), ``hand_grades`` (kept where nothing changed),
``settling`` (what is worked out anew every time: ``penalties``, ``exemptions``),
``released_points``, ``kept`` and ``troubles`` (notes that outlive a run).

Of what comes out: ``standing`` (how every student stands, and why there is no grade), ``rows`` (the
table), ``grades_csv``, ``feedback`` and ``formulas`` (a page), ``rendering`` (what pages have in
common), ``pages`` (is it current?), ``page_makers``. A name is imported when it is first used:
nbgrader takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "course_directory": ["init_course", "load_config", "release"],
        "grades": ["export", "grade_course"],
        "preprocessors": ["ExecuteAndJudge", "Realign"],
    },
)
