"""Lab 05, SparseViT: the long runs behind its figures.

Rooms: `sparsity` (which windows may be skipped), `sparse_search` (the best layout for a given
time).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["sparse_search", "sparsity"])
