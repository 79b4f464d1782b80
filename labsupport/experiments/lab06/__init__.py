"""Lab 06, contrastive learning, CLIP: the long runs behind its figures.

Rooms: `contrastive` (CLIP and what it is compared with), `word_order` (what teaches it which thing
is where), `simclr` (images without labels).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["contrastive", "simclr", "word_order"]
)
