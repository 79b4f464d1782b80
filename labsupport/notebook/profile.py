"""Profiles: one notebook, three scales."""

from collections.abc import Callable
from typing import Any

PROFILES = ("smoke", "cpu", "gpu")


def profile(name: str) -> Callable[..., Any]:
    """Return ``scale``, which picks the value that belongs to the profile ``name``.

    ``smoke`` takes seconds (tests and grading), ``cpu`` minutes on a laptop or a free Colab
    machine, ``gpu`` uses real public data sets on one accelerator.

    Example: ``scale = profile("cpu"); steps = scale(smoke=2, cpu=300, gpu=3000)``.

    Raises ValueError for an unknown profile.
    """
    if name not in PROFILES:
        raise ValueError(f"PROFILE = {name!r}: allowed are {', '.join(map(repr, PROFILES))}")

    def scale(*, smoke: Any, cpu: Any, gpu: Any) -> Any:
        return {"smoke": smoke, "cpu": cpu, "gpu": gpu}[name]

    return scale
