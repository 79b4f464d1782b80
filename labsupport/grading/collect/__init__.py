"""``labs collect``: a learning platform's download becomes nbgrader's ``submitted/`` folder.

nbgrader has ``zip_collect``, and this keeps its conventions: one notebook and a ``timestamp.txt``
a submission, under ``submitted/STUDENT/LAB/``. It is not enough by itself. It unpacks archives to
disk as they are, those inside them too, without limits; it needs a regular expression for every
platform, and takes student ids out of file names as they come; it removes what was collected
before. Here nothing of an archive is unpacked: its entries are read one at a time, their names
are data and never paths, and what is replaced is kept.
"""
