"""Other ways to write an image, which HART is compared with, at its size and with its tokenizer.

Rooms: `raster` (codes one by one), `masked` (continuous tokens, several at a time),
`diffusion_transformer` (the whole latent, step by step). A name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "diffusion_transformer": ["DiffusionTransformer"],
        "masked": ["MaskedAR"],
        "raster": ["RasterAR"],
    },
)
