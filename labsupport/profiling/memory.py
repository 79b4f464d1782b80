"""Memory of a call, as PyTorch asks for it."""

import os
from collections.abc import Callable
from typing import Any

import torch

# Some versions of PyTorch's profiler write every start and stop to stderr, and that no GPU is
# there; a notebook shows it in red. Errors of the profiled code itself are exceptions as ever.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")


def memory_events(fn: Callable[..., Any], *inputs: Any) -> list[int]:
    """What one call `fn(*inputs)` takes and gives back of the CPU's memory, in order, in bytes.

    A tensor that is made is a positive number, one that is freed a negative one; views cost
    nothing, and a Python number in an expression a few bytes. The inputs are there before and do
    not count, the result does. The same on every run and every machine, because it is what PyTorch
    asks for and not what the system sees.
    """
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        result = fn(*inputs)
    del result  # only after the events are over
    events = [
        event
        for event in profiler.profiler.kineto_results.events()
        if event.name() == "[memory]" and event.device_type().name == "CPU"
    ]
    events.sort(key=lambda event: event.start_ns())
    return [event.nbytes() for event in events]
