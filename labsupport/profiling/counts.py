"""Counts of a model: parameters and multiply-accumulates.

**MACs and FLOPs.** A multiply-accumulate (MAC) is one multiplication and the addition of its
result to a running sum; a matrix product (n, k) @ (k, m) takes n·k·m of them. Counted as
floating-point operations (FLOPs) it is two. Papers on vision transformers mostly print MACs under
the name "FLOPs" (ViT-B/16: "17.6 GFLOPs"); other tools print twice as much for the same model.
These functions always say MACs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Numbers in all parameters of `module`, frozen ones included, buffers not; a parameter
    shared between layers counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module_or_fn: Callable[..., Any], *inputs: Tensor) -> int:
    """Multiply-accumulates of `module_or_fn(*inputs)`, for the whole batch.

    Counts matrix products and convolutions, attention included; biases, norms, activations,
    softmax and other element-wise work are left out, as in the tables of the papers. A module runs
    without gradients and in the mode (train or eval) it is in; a function runs as it is, so one
    that calls `backward` has that counted too. Nothing is computed for a module and inputs on the
    `meta` device, so even ViT-H is counted in a moment; what the code makes anew (a buffer of
    zeros, say) is then made there too.
    """
    counter = FlopCounterMode(display=False)
    is_module = isinstance(module_or_fn, nn.Module)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The counter sees single operators. On a CPU it does not know the fused attention kernel, nor
    # the fused `nn.MultiheadAttention` of eval mode: both would silently count as nothing. So
    # attention runs here as the two plain matrix products that it stands for.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.set_grad_enabled(not is_module and torch.is_grad_enabled()):
            with sdpa_kernel(SDPBackend.MATH), counter, _where(inputs):
                module_or_fn(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2  # the counter gives 2 FLOPs for each MAC


def _where(inputs: tuple[Tensor, ...]) -> AbstractContextManager:
    on_meta = bool(inputs) and all(getattr(t, "is_meta", False) for t in inputs)
    return torch.device("meta") if on_meta else nullcontext()
