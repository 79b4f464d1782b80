"""Notebook: what every lab's notebook calls.

Rooms: `check` (visible checks), `failures` (what a failed one looks like), `environment` (is all
there that a lab needs), `profile` (smoke, cpu, gpu), `solved` (a graded line fails until it is),
`widgets` (a widget with its still picture), `pointer` (clicks on it), `plot` (figures).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["check", "environment", "failures", "plot", "pointer", "profile", "solved", "widgets"],
)
