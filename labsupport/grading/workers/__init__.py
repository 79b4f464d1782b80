"""Submissions as tasks, done by many processes and machines.

Rooms: ``task`` (one submission as text, and its grading), ``fanout`` (many of them, with Dask),
``forks`` and ``preload`` (the process that this machine's workers are forked from), ``warmth`` (the
one that a lab's kernels are forked from). A name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fanout": ["perform_all"],
        "forks": ["prepare_workers"],
        "task": ["GradingTask", "perform"],
    },
)
