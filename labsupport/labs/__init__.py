"""Labs: what one lab's notebook uses and no other.

Rooms: `lab01` (vision transformer), `lab02` (attention cost), `lab03` (EfficientViT), `lab04`
(Segment anything), `lab05` (SparseViT), `lab06` (contrastive learning, CLIP), `lab07` (masked
autoencoder), `lab08` (HART's tokenizer), `lab09` (HART's generator), `lab10` (VILA-U). None imports
another.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["lab01", "lab02", "lab03", "lab04", "lab05", "lab06", "lab07", "lab08", "lab09", "lab10"],
)
