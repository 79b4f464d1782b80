"""Cases: what a judge asks, and the fresh inputs it asks with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass
class Case:
    """One question to the student's code.

    ``name`` is shown to the student when the case fails, so it says what is special about the
    inputs ("3 heads, 7 tokens"), never what should come out. ``part`` is one of the judge cell's
    ``parts``, where it has them; it does not travel, so the driver looks at the inputs. All other
    arguments are inputs.
    """

    name: str
    inputs: dict[str, Any]
    part: str = ""

    def __init__(self, name: str, *, part: str = "", **inputs: Any):
        self.name = name
        self.part = part
        self.inputs = inputs


def randn(
    rng: np.random.Generator, *shape: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A standard normal tensor of the given shape from a numpy generator."""
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def in_float32(value: Any) -> Any:
    """A value with each float64 tensor or array in it as float32; all others as they are."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.float64 else value
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if value.dtype == np.float64 else value
    if isinstance(value, list | tuple):
        return type(value)(in_float32(item) for item in value)
    if isinstance(value, dict):
        return {key: in_float32(item) for key, item in value.items()}
    return value
