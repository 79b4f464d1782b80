"""VILA-U: one transformer that reads images and text, and writes both, token by token.

Y. Wu et al., "VILA-U: a Unified Foundation Model Integrating Visual Understanding and Generation"
(ICLR 2025), with the semantics of its published code. Rooms, from images to answers: `config`
(sizes), `codebook` and `quantizer` (residual quantization, D codes a place), `siglip` (the
published image encoder), `alignment` (image features meet captions), `tower` (encoder, quantizer,
decoder, alignment), `attention` and `blocks`, `trunk` (the language model), `depth` (the D codes of
a place, one by one), `words` (captions and questions as numbers), `sequence` (text and images in
one row, and what is learned where), `model` (all together, and its two losses), `writing` (text
after an image), `painting` (an image after a caption).

A name is imported when it is first used: rooms that hold a lab's answers are hidden while that
lab is graded, and the others have to work without them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "alignment": ["AlignmentHead", "sigmoid_loss"],
        "codebook": ["RunningCodebook"],
        "config": ["DEPTH_SIZES", "LLAMA_2_7B", "SIGLIP_SIZES", "DepthConfig", "TowerConfig"],
        "depth": ["DepthTransformer"],
        "model": ["VilaU"],
        "painting": ["paint"],
        "quantizer": ["ResidualQuantizer"],
        "sequence": ["mix"],
        "siglip": ["SiglipEncoder"],
        "tower": ["VisualTower", "new_tower"],
        "trunk": ["Trunk"],
        "writing": ["write"],
    },
)
