"""Segment Anything: a prompt is a click, a box or a mask; the answer is what was meant.

A. Kirillov et al., "Segment Anything" (ICCV 2023), appendix A, and Z. Zhang et al.,
"EfficientViT-SAM" (CVPR workshops 2024), with the semantics of their published code. Rooms:
`config` (sizes), `image_encoder` (the ViT), `efficientvit_sam` (the encoder that replaces it),
`prompt_encoder`, `two_way` and `mask_decoder` (the light end), `model` (all together, by name),
`losses`, `frame` (pixels of the image and of the network), `automatic` (everything at once),
`text_prompt` (words in the place of points),
`transformers_weights` (from that library's names to these).

A name is imported when it is first used: rooms that hold a lab's answers are hidden while that
lab is graded, and the others have to work without them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "automatic": ["Segments", "point_grid", "segment_everything", "stability_score"],
        "config": ["SIZES", "DecoderConfig", "EfficientViTConfig", "SamConfig", "ViTConfig"],
        "efficientvit_sam": ["EfficientViTImageEncoder", "SamNeck", "large_backbone"],
        "frame": ["fit_image", "masks_in_image", "points_in_frame"],
        "image_encoder": ["ImageEncoder"],
        "losses": ["dice_loss", "focal_loss", "promptable_loss"],
        "mask_decoder": ["MaskDecoder", "Masks", "select_masks"],
        "model": ["Sam", "build_sam", "sam"],
        "prompt_encoder": ["FourierPositions", "Prompt", "PromptEncoder"],
        "text_prompt": ["TextPrompt", "small_text_prompt"],
        "transformers_weights": ["load_transformers_weights"],
        "two_way": ["TwoWayTransformer"],
    },
)
