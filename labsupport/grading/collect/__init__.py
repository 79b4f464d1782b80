"""Downloads of a learning platform, filed in nbgrader's ``submitted/`` folder: ``labs collect``.

Rooms: ``collect`` (all of it), ``command`` (what the terminal shows), ``archive`` (a folder or zip
file, read without trust), ``formats`` with ``canvas``, ``moodle`` and ``gradescope`` (whose
notebook it is), ``handin`` (what one student handed in), ``choose`` (which notebook is the lab's),
``ids`` (a student's id), ``filing`` (where it goes, and what was there before), ``people`` (what
the gradebook is told of names).

nbgrader has ``zip_collect``, and this keeps its conventions: one notebook and a ``timestamp.txt``
a submission, under ``submitted/STUDENT/LAB/``. It is not enough by itself. It unpacks archives to
disk as they are, those inside them too, without limits; it needs a regular expression for every
platform, and takes student ids out of file names as they come; it removes what was collected
before. Here nothing of an archive is unpacked: its entries are read one at a time, their names
are data and never paths, and what is replaced is kept.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "archive",
        "canvas",
        "choose",
        "collect",
        "command",
        "filing",
        "formats",
        "gradescope",
        "handin",
        "ids",
        "moodle",
        "people",
    ],
)
