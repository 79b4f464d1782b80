"""Work done once inside the sandbox, that every notebook would otherwise do for itself.

Imports are not all that a first time costs: matplotlib reads its fonts, the emoji are decoded, a
torch module runs its initialisation. A fork inherits all of it. Nothing here may start a thread,
for a thread does not survive a fork; the zygote checks that. What only some notebooks need is
``LATER``: nobody's first verdict waits for it.
"""

import gc
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

# What every kernel needs, and what it imports when it is first asked something.
KERNEL = (
    "torch",
    "matplotlib.pyplot",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "psutil",
    "sqlite3",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.debugger_backport",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
    "tornado.queues",
    "torch.utils.benchmark",
    "labsupport.answers.respond",
    "labsupport.data",
)


class StartedThread(RuntimeError):
    """Something has left a thread, so this process cannot be forked. ``name``: what was imported,
    "" where it was none of the imports."""

    def __init__(self, name: str, threads: int):
        self.name = name
        super().__init__(f"the warm process has {threads} threads after {name or 'its work'}")


def warm_up(imported: Sequence[str] = ()) -> None:
    """Import (what is ``imported`` by the lab too), draw, decode and compute once; then keep the
    garbage collector from looking at all of that again, which would also copy its pages in every
    fork. Raises StartedThread."""
    gc.disable()  # a fifth of an import's time, and nothing to collect
    sys.modules["debugpy"] = None  # type: ignore[assignment]  # "not installed": it is slow to load
    for name in (*KERNEL, *imported):
        try:
            _import(name)
        except (ImportError, AttributeError) as error:  # a kernel that needs it will say so itself
            print(f"zygote: {name}: {error}", file=sys.stderr)
        _see_one_thread(name)
    for step in (_draw, _decode, _compute, _fail):
        _try(step)
    _keep()


def warm_further(step: Callable[[], None]) -> None:
    """Do one of ``LATER``, between two forks. Raises StartedThread."""
    gc.disable()
    _try(step)
    _keep()


def _try(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:  # warmth is a matter of speed only
        print(f"zygote: {step.__name__}: {type(error).__name__}: {error}", file=sys.stderr)


def _keep() -> None:
    gc.freeze()  # uncollected: that would take half a second, and leave holes for forks to write in
    gc.enable()
    _see_one_thread("")


def _import(name: str) -> None:
    """As ``from package import last_part`` does: what has one name with a module stays itself."""
    package, _, last = name.rpartition(".")
    if package:
        importlib.__import__(package, fromlist=[last])
    else:
        importlib.import_module(name)


def _see_one_thread(name: str) -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise StartedThread(name, threads)


def _draw() -> None:
    """A figure without pyplot: its inline backend looks for a notebook's shell when it is first
    used, and there is none yet."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(np.zeros((4, 4)))
    axes.set_title(r"$\frac{1}{\sqrt{d}}$ and words", fontweight="bold")
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")


def _decode() -> None:
    from labsupport.data import load_emoji

    load_emoji()


def _compute() -> None:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    state = torch.get_rng_state()
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 2))
    net(torch.zeros(1, 3, 8, 8)).sum().backward()
    torch.set_rng_state(state)


def _optimise() -> None:
    """The first optimizer imports torch's compiler, which takes as long as torch itself."""
    import torch

    weight = torch.nn.Parameter(torch.ones(1))
    weight.sum().backward()
    torch.optim.AdamW([weight]).step()


def _fail() -> None:
    """The first stack trace that IPython prints reads a highlighter and its grammar."""
    from IPython.core.ultratb import AutoFormattedTB

    try:
        raise ValueError
    except ValueError:
        AutoFormattedTB(mode="Context").structured_traceback(*sys.exc_info())


LATER: tuple[Callable[[], None], ...] = (_optimise,)
