"""A notebook of untrusted code, run within limits and in a sandbox.

Rooms: ``run`` (execute a notebook, kernels that die included), ``engine`` (papermill's engine for
it, where outputs are counted), ``limits`` (time, memory, tasks, and the watch on them), ``clock``
(time that load does not move), ``tree`` (what processes use), ``kernels`` (interrupt one, end one),
``scratch`` (temporary folders that do not pile up), ``sandbox`` (kernels in bubblewrap).
A name is imported when it is first used: inside the sandbox little of this is.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"limits": ["RunLimits"], "run": ["Execution", "execute"]}
)
