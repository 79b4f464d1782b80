"""What a model costs: parameters, multiply-accumulates, seconds, memory.

**MACs and FLOPs.** A multiply-accumulate (MAC) is one multiplication and the addition of its
result to a running sum; a matrix product (n, k) @ (k, m) takes n·k·m of them. Counted as
floating-point operations (FLOPs) it is two. Papers on vision transformers mostly print MACs under
the name "FLOPs" (ViT-B/16: "17.6 GFLOPs"); other tools print twice as much for the same model.
These functions always say MACs.
"""

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

# Some versions of PyTorch's profiler write every start and stop to stderr, and that no GPU is
# there; a notebook shows it in red. Errors of the profiled code itself are exceptions as ever.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")


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
    `meta` device, so even ViT-H is counted in a moment.
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
            with sdpa_kernel(SDPBackend.MATH), counter:
                module_or_fn(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops() // 2  # the counter gives 2 FLOPs for each MAC


def measure_seconds(fn: Callable[..., Any], *inputs: Any, warmup: int = 2,
                    min_seconds: float = 0.5, threads: int | None = None) -> float:
    """Median wall time of one call `fn(*inputs)`, in seconds.

    The first `warmup` calls are not counted: they pay for memory allocation, kernel selection and
    cold caches. Then `fn` runs for at least `min_seconds` and three times; the median forgets the
    moments when the machine was busy with something else. `threads` limits the CPU threads for
    the measurement only (default: as many as PyTorch uses now). GPU work is waited for.
    """
    # imported here: it looks for a CUDA toolkit, and says on stderr that there is none
    from torch.utils.benchmark import Timer

    if warmup < 1:
        raise ValueError(f"warmup={warmup} must be at least 1")
    for _ in range(warmup):
        start = perf_counter()
        fn(*inputs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        once = perf_counter() - start
    timer = Timer(
        stmt="fn(*inputs)",
        globals={"fn": fn, "inputs": inputs},
        num_threads=threads or torch.get_num_threads(),
    )
    return timer.blocked_autorange(min_run_time=max(min_seconds, 3 * once)).median


def memory_events(fn: Callable[..., Any], *inputs: Any) -> list[int]:
    """What one call `fn(*inputs)` takes and gives back of the CPU's memory, in order, in bytes.

    A tensor that is made is a positive number, one that is freed a negative one; views cost
    nothing, and a Python number in an expression a few bytes. The inputs are there before and do
    not count, the result does. The same on every run and every machine, because it is what PyTorch
    asks for and not what the system sees.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU],
                                profile_memory=True) as profiler:
        result = fn(*inputs)
    del result  # only after the events are over
    events = [event for event in profiler.profiler.kineto_results.events()
              if event.name() == "[memory]" and event.device_type().name == "CPU"]
    events.sort(key=lambda event: event.start_ns())
    return [event.nbytes() for event in events]
