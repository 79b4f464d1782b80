"""Grades on their way back: the files that Canvas, Moodle and Gradescope take, for ``labs export``.

Rooms: ``export`` (all of it), ``command`` (what the terminal shows), ``sheet`` (a platform's CSV
file, read and written as it was), ``people`` (whose row it is), ``labs`` (whose column it is),
``canvas``, ``moodle``, ``gradescope`` (what each takes), ``packing`` (feedback pages). A row is
filled in only where it is certain whose it is; all else is named.
"""
