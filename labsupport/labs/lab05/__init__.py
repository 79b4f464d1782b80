"""Lab 05, SparseViT: what its notebook uses and no other.

Rooms: `kept_windows` (figures of which windows are kept and of what that costs),
`sparsity_widget` (skip more and more of them).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["kept_windows", "sparsity_widget"])
