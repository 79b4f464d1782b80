"""Lab 07, masked autoencoder: the long runs behind its figures.

Rooms: `masked_pretraining` (what the encoder is worth when labels are few), `mask_ratio` (how much
to hide), `natural_colours` (the same where colours give things away).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["mask_ratio", "masked_pretraining", "natural_colours"]
)
