"""Lab 03, EfficientViT: what its notebook uses and no other.

Rooms: `dense_prediction` (measures of maps and of super-resolution), `diagrams` (orders of a
product, the module), `resolution_widget` (one scene at several resolutions).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["dense_prediction", "diagrams", "resolution_widget"]
)
