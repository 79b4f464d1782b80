"""Lab 07, masked autoencoder: what its notebook uses and no other.

Room: `reconstructions` (hidden and repainted images, and a widget that hides them).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["reconstructions"])
