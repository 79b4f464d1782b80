"""Load the weights of timm's EfficientViT (`timm.models.efficientvit_mit`) into ours."""

import re

from torch import Tensor

from labsupport.models.efficientvit.heads import Classifier

NAMES = (  # a pattern in timm's state dict, what it is here; applied in this order
    (r"^stem\.in_conv\.", "backbone.stem.0."),
    (r"^stem\.res(\d+)\.", lambda m: f"backbone.stem.{int(m[1]) + 1}."),
    (r"^stages\.(\d+)\.blocks\.0\.main\.", r"backbone.stages.\1.0."),  # stride 2: no residual
    (r"^stages\.(\d+)\.blocks\.", r"backbone.stages.\1."),
    (r"\.aggreg\.(\d+)\.0\.", r".aggreg.\1.depthwise."),
    (r"\.aggreg\.(\d+)\.1\.", r".aggreg.\1.grouped."),
    (r"^head\.classifier\.4\.", "head.classifier.3."),  # timm has a dropout before
)


def load_timm_weights(model: Classifier, state_dict: dict[str, Tensor]) -> None:
    """Copy the weights of timm's model of the same variant into `model`.

    Raises ValueError when a name or a shape does not fit; `model` is then left as it was.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        renamed[name] = tensor
    shapes = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = sorted(n for n in shapes | expected if shapes.get(n) != expected.get(n))
    if wrong:
        raise ValueError(
            f"state_dict does not fit the model: {len(wrong)} entries differ, first {wrong[0]!r}: "
            f"{shapes.get(wrong[0], 'absent')}, expected {expected.get(wrong[0], 'no such entry')}"
        )
    model.load_state_dict(renamed)
