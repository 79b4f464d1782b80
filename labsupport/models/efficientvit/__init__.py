"""EfficientViT: multi-scale linear attention for dense prediction.

Follows H. Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense
Prediction" (ICCV 2023) and its published code. Rooms: `convolutions` (blocks of them),
`attention` (linear attention, at several scales), `backbone` (B0-B3 and L0-L3), `heads`
(classifier, segmentation, super-resolution), `timm_weights` (from timm's names to these).

A name is imported when it is first used: all rooms are hidden while lab 03 is graded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attention": ["EfficientViTModule", "MultiScaleAttention", "relu_linear_attention"],
        "backbone": ["Backbone", "b_backbone", "l_backbone"],
        "heads": ["Segmenter", "SuperResolution", "classifier", "segmenter", "small_segmenter"],
        "timm_weights": ["load_timm_weights"],
    },
)
