"""Reports on a graded class: what ``labs report`` says of students, exercises and grading.

Rooms: ``command`` (write all, and what the terminal shows), ``data`` (results as the course has
them), ``account`` (what a graded notebook says of itself), ``statistics``, ``mistakes`` (the
commonest wrong answers), ``page`` (HTML), ``pictures`` (SVG), ``tables`` (CSV). A name is imported
when it is first used: matplotlib takes a while.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"command": ["write_reports"], "data": ["LabResults", "read_results"]}
)
