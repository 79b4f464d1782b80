"""Tolerance: how near is near enough."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """How far an answer may be from the expected one: ``|answer − expected| ≤ atol + rtol ·
    |expected|`` for numbers and tensors that are not whole. The usual one leaves room for what
    float32 rounds away in sums of some thousand terms.

    ``float64``, where an exercise asks for double precision, takes the place of both: inputs are
    then handed over as they are, in float64, and an answer must have been computed in it.
    """

    rtol: float = 1e-4
    atol: float = 1e-5
    float64: float | None = None
