"""Measurements of lab 02, shared by the notebook (the student's code) and its long run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labsupport.profiling.counts import count_macs
from labsupport.profiling.memory import memory_events

FILLED = 4  # in sparse windows, one token in so many is not empty


def map_of_tokens(side: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens: a map (1, side, side, dim), and of its non-empty tokens the features
    (tokens, dim) and their row and column (tokens, 2), a quarter of the map at random places."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, side, side, dim, generator=generator)
    chosen = torch.randperm(side * side, generator=generator)[: side * side // FILLED]
    coords = torch.stack([chosen // side, chosen % side], dim=1)
    return x, x[0].flatten(0, 1)[chosen], coords


@torch.no_grad()
def cost_sweep(
    makers: Mapping[str, Callable[[int], Callable[[], Any]]],
    sides: Mapping[str, Sequence[int]],
    *,
    rounds: int,
    seconds: Callable[[Callable[[], Any]], float],
    peak: Callable[[list[int]], int],
    threads: int = 1,
) -> list[dict]:
    """Multiply-accumulates, peak memory and time of every variant on every side of its map.

    `makers[variant](side)` returns a function without arguments to be measured, `seconds(fn)`
    times it and `peak(events)` reads `labsupport.profiling.memory_events`. Time is measured in
    `rounds`, all variants and sizes taking turns, and the smallest is kept: what else the machine
    does can only add. Returns one record a variant and side: variant, side, tokens (side²), macs,
    bytes, seconds.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        work = {(v, side): makers[v](side) for v in makers for side in sides[v]}
        records = {
            key: {
                "variant": key[0],
                "side": key[1],
                "tokens": key[1] ** 2,
                "macs": count_macs(fn),
                "bytes": int(peak(memory_events(fn))),
                "seconds": float("inf"),
            }
            for key, fn in work.items()
        }
        for _ in range(rounds):
            for key, fn in work.items():
                records[key]["seconds"] = min(records[key]["seconds"], float(seconds(fn)))
    finally:
        torch.set_num_threads(before)
    return list(records.values())


def series(records: Sequence[dict], variant: str, key: str) -> tuple[list[int], list[float]]:
    """The token counts of a variant's records and their `key`, in ascending order."""
    found = sorted((r["tokens"], r[key]) for r in records if r["variant"] == variant)
    return [n for n, _ in found], [value for _, value in found]


def layers_until_all_hear(
    make_layer: Callable[[int], Callable[[Tensor], Tensor]],
    side: int,
    tokens: Sequence[int],
    dim: int,
    most: int,
) -> int | None:
    """After how many layers each of `tokens` has heard from every token; None for never in `most`.

    `make_layer(i)` returns layer i, a map (1, side, side, dim) to the same shape. A token has
    heard from another if the gradient of its output with respect to the other's input is not
    zero. In double precision, where exp(-100) does not hide and is cut off by hand.
    """
    layers: list[Callable[[Tensor], Tensor]] = []
    x = torch.randn(
        1, side, side, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    for depth in range(1, most + 1):
        layers.append(make_layer(depth - 1))
        if all(_heard(layers, x, token).all() for token in tokens):
            return depth
    return None


SILENT = 1e-35  # below: a mask's exp(-100) = 4e-44; above: fifteen layers of one share in 49


def _heard(layers: Sequence[Callable[[Tensor], Tensor]], x: Tensor, token: int) -> Tensor:
    out = x
    for layer in layers:
        out = layer(out)
    (grad,) = torch.autograd.grad(out.flatten(0, 2)[token].sum(), x)
    return grad[0].abs().amax(dim=-1) > SILENT  # (side, side)


def heard_after(layers: Sequence[nn.Module], x: Tensor, token: int) -> Tensor:
    """The tokens of the map `x` (1, side, side, dim) that `token` has heard from after `layers`:
    bool (side, side), from the gradient."""
    x = x.detach().clone().requires_grad_()
    return _heard(layers, x, token)
