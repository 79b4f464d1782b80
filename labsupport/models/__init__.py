"""Networks of the course, one file or folder a system.

Rooms: `vit`, `swin` and the `windows` it attends in, `sparsevit` and its `layouts`, `mae` and its
`masking`, `segformer`, `swinir`, `cnn`, and in folders of their own `efficientvit`, `clip`, `hart`,
`sam` and `vilau`. `attention` has attention at its different prices; `judges` say what a sticker
shows. For all of them: `layers` (shared ones), `apply` (a network to many inputs), `weights` (load,
save, rename), `registry` (the trained ones that come with the labs).

A name is imported when it is first used: the room that holds a lab's answer is hidden while that
lab is graded, and the others have to work without it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["clip", "efficientvit", "hart", "sam", "vilau"],
    submod_attrs={
        "apply": ["in_parts", "predict"],
        "cnn": ["PlainCNN", "cnn_with_parameters"],
        "judges": ["JudgeNet", "judge"],
        "mae": ["MaskedAutoencoder"],
        "registry": ["pretrained", "untrained"],
        "segformer": ["SegFormerLike"],
        "sparsevit": ["SparseSegmenter", "SparseSwin"],
        "swin": ["Swin"],
        "swinir": ["SwinIRLike"],
        "vit": ["VisionTransformer"],
        "weights": ["checkpoint_path", "load_checkpoint", "read_metadata", "save_checkpoint"],
    },
)
