"""Lab 03, EfficientViT: the long runs behind its figures.

Rooms: `segmentation` (which nets find the sign far away), `super_resolution` (twice the pixels),
`race` (published quality against the time of one image here).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["race", "segmentation", "super_resolution"]
)
