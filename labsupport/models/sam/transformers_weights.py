"""Weights of `transformers`' SamModel, loaded into the one here."""

from collections.abc import Mapping

from torch import Tensor

from labsupport.models.sam.model import Sam
from labsupport.models.weights import Names, load_renamed

NAMES: Names = (  # a pattern in transformers' state dict, what it is here; applied in this order
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"^image_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed."),
    (r"\.neck\.conv1\.", ".neck.0."),
    (r"\.neck\.layer_norm1\.", ".neck.1."),
    (r"\.neck\.conv2\.", ".neck.2."),
    (r"\.neck\.layer_norm2\.", ".neck.3."),
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.positions.gaussian"),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.lin([12])\.", r".fc\1."),
    (r"(mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),  # the middle of three
    (r"\.proj_in\.", ".layers.0."),
    (r"\.proj_out\.", ".layers.2."),
)
TWICE = "prompt_encoder.shared_embedding."  # the same matrix as shared_image_embedding


def load_transformers_weights(model: Sam, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of a `transformers.SamModel` of the same size into `model`.

    Raises ValueError where a name or a shape does not fit; `model` is then left as it was.
    """
    known = {name: value for name, value in state_dict.items() if not name.startswith(TWICE)}
    load_renamed(model, known, NAMES)
