"""Learning-rate schedules, as shares of the peak rate."""

import math

WARMUP = 0.1  # share of the steps in which the learning rate rises


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` of `steps`: a linear rise over the first 10%,
    then half a cosine down to 0 (I. Loshchilov and F. Hutter, "SGDR", 2017)."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (steps - warmup + 1)))
