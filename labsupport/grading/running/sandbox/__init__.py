"""Kernels for untrusted code: bubblewrap around a warm process, a jail of its own for each kernel.

Rooms outside: ``visible`` (what a sandbox sees), ``warm`` (start one, or a warm process without a
sandbox), ``asking`` (ask it for kernels), ``kernel`` (hold one), ``provisioner`` (hand them to
jupyter_client). Rooms inside: ``zygote`` (forks kernels), ``warmup``
(what it does before), ``jail`` (a kernel's walls and limits), ``syscalls`` (what it may not call).
A name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"visible": ["bubblewrap"], "warm": ["WarmProcess", "WarmSandbox"]}
)
