"""Lab 01, vision transformer: the long runs behind its figures.

Rooms: `data_scaling` (ViT against CNN as training sets grow), `learning_rates` (the sweep before
it), `checkpoint` (the ViT that ships with the lab).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["checkpoint", "data_scaling", "learning_rates"]
)
