"""Registry of the trained networks that come with the labs: by name, ready to be used.

`data/checkpoints/README.md` says how each was trained and what it can do. A network's module is
imported when it is asked for: the one that holds a lab's answer is hidden while that lab is
graded, and the others have to work without.
"""

import pkgutil
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from labsupport.models import hart
from labsupport.models.hart.shipped import CHECKPOINTS
from labsupport.models.weights import load_checkpoint


class Entry(NamedTuple):
    """What builds a network: "module:name" below `labsupport.models`, and its arguments. `apart`
    are parts with a checkpoint of their own: part -> its name here."""

    maker: str
    arguments: Mapping[str, Any] = {}
    apart: Mapping[str, str] = {}


SPARSEVIT = Entry(
    "sparsevit:SparseSegmenter",
    {"num_classes": 9, "dim": 32, "depths": (2, 4), "heads": (2, 4), "window": 4, "patch_size": 4},
)
NETWORKS = {
    "01_vit": Entry(
        "vit:VisionTransformer",
        {
            "image_size": 32,
            "patch_size": 4,
            "num_classes": 40,
            "dim": 64,
            "depth": 4,
            "heads": 4,
            "mlp_ratio": 2,
        },
    ),
    "03_efficientvit": Entry("efficientvit.heads:small_segmenter"),
    "03_segformer": Entry(
        "segformer:SegFormerLike",
        {"num_classes": 4, "dims": (16, 32, 64), "reductions": (1, 1, 1), "width": 48},
    ),
    "03_super_resolution": Entry("efficientvit.heads:SuperResolution", {"depth": 2}),
    "04_sam_vit": Entry("sam.model:sam", {"name": "small_vit"}),
    "04_sam_efficientvit": Entry("sam.model:sam", {"name": "small_efficientvit"}),
    "04_sam_engine": Entry("sam.model:sam", {"name": "small_vit"}),
    "04_sam_text": Entry("sam.text_prompt:small_text_prompt"),
    "05_sparsevit": SPARSEVIT,
    "05_sparsevit_dense": SPARSEVIT,
    "06_clip": Entry("clip.model:small_clip"),
    "07_mae": Entry("mae:small_mae"),
    "10_tower": Entry("vilau.tower:new_tower"),
    "10_tower_plain": Entry("vilau.tower:new_tower", {"aligned": False}),
    "10_unified": Entry("vilau.model:VilaU", apart={"tower": "10_tower"}),
}
# of labs 08 and 09, which HART's own face calls by what they are
OF_HART = {file: name for name, file in CHECKPOINTS.items()}


def untrained(name: str) -> nn.Module:
    """The network of a shipped checkpoint as it begins. Raises ValueError for an unknown name."""
    if name in OF_HART:
        return hart.untrained(OF_HART[name])
    if name not in NETWORKS:
        known = ", ".join(sorted([*NETWORKS, *OF_HART]))
        raise ValueError(f"name={name!r} is no shipped network; choose from {known}")
    entry = NETWORKS[name]
    return pkgutil.resolve_name(f"labsupport.models.{entry.maker}")(**entry.arguments)


def pretrained(name: str) -> nn.Module:
    """The network of a shipped checkpoint, trained, in eval mode: `pretrained("01_vit")`.

    Images are in [-1, 1], but for "03_super_resolution". Raises ValueError for an unknown name.
    """
    if name in OF_HART:
        return hart.pretrained(OF_HART[name])
    model = untrained(name)
    apart = NETWORKS[name].apart
    for part, checkpoint in apart.items():
        load_checkpoint(model.get_submodule(part), checkpoint)
    load_checkpoint(without(model, *apart), name)
    return model.eval()


def without(model: nn.Module, *parts: str) -> nn.Module:
    """`model`, or its other parts alone, by the same names: what its checkpoint holds where
    `parts` have one of their own."""
    if not parts:
        return model
    kept = {name: part for name, part in model.named_children() if name not in parts}
    return nn.ModuleDict(kept)
