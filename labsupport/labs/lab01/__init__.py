"""Lab 01, vision transformer: what its notebook uses and no other.

Rooms: `diagrams` (the way of an image through a ViT, heads), `widgets` (patch sizes, attention),
`data_scaling` (ViT against CNN on growing training sets).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["data_scaling", "diagrams", "widgets"]
)
