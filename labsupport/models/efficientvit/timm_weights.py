"""Weights of timm's EfficientViT (`timm.models.efficientvit_mit`), loaded into the one here."""

from collections.abc import Mapping

from torch import Tensor

from labsupport.models.efficientvit.heads import Classifier
from labsupport.models.weights import Names, load_renamed

NAMES: Names = (  # a pattern in timm's state dict, what it is here; applied in this order
    (r"^stem\.in_conv\.", "backbone.stem.0."),
    (r"^stem\.res(\d+)\.", lambda m: f"backbone.stem.{int(m[1]) + 1}."),
    (r"^stages\.(\d+)\.blocks\.0\.main\.", r"backbone.stages.\1.0."),  # stride 2: no residual
    (r"^stages\.(\d+)\.blocks\.", r"backbone.stages.\1."),
    (r"\.aggreg\.(\d+)\.0\.", r".aggreg.\1.depthwise."),
    (r"\.aggreg\.(\d+)\.1\.", r".aggreg.\1.grouped."),
    (r"^head\.classifier\.4\.", "head.classifier.3."),  # timm has a dropout before
)


def load_timm_weights(model: Classifier, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of timm's model of the same variant into `model`.

    Raises ValueError where a name or a shape does not fit; `model` is then left as it was.
    """
    load_renamed(model, state_dict, NAMES)
