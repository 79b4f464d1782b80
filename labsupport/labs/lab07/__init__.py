"""Lab 07, masked autoencoder: what its notebook uses and no other.

Rooms: `reconstructions` (hidden and repainted images), `mask_widget` (hide as much as one wants).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["mask_widget", "reconstructions"])
