"""Networks of labs 08 and 09 that are shipped with their weights, by name.

Lab 08's tokenizer and the two judges, lab 09's generator, and the CLIP that scores its images.
Other files of the package are opened when a network is asked for: some are hidden in grading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from torch import nn

from labsupport.data.stickers import CHOICES, TEXT_LENGTH, VOCABULARY
from labsupport.models.hart.config import HartConfig
from labsupport.models.judges import JudgeNet
from labsupport.models.weights import load_checkpoint

if TYPE_CHECKING:
    from labsupport.models.clip.model import CLIP
    from labsupport.models.hart.generator import Hart
    from labsupport.models.hart.tokenizer import HybridTokenizer

JUDGE_SIZE = 48  # pixels a side of the judges' images, and of CLIP's
JUDGES: dict[str, dict[str, Any]] = {
    "a": {"kernel": 3},
    "b": {"kernel": 5, "widths": (16, 48, 64, 128)},
}
# name -> file in data/checkpoints; the generator's is without its tokenizer, which has its own
CHECKPOINTS = {
    "generator": "09_hart",
    "tokenizer": "08_hart_tokenizer",
    "judge a": "08_judge_a",
    "judge b": "08_judge_b",
    "clip": "09_clip",
}


@overload
def untrained(name: Literal["generator"] = ...) -> Hart: ...
@overload
def untrained(name: Literal["tokenizer"]) -> HybridTokenizer: ...
@overload
def untrained(name: Literal["judge a", "judge b"]) -> JudgeNet: ...
@overload
def untrained(name: Literal["clip"]) -> CLIP: ...
def untrained(name: str = "generator") -> nn.Module:
    """The network of this name before training. Raises ValueError for a name that is not known."""
    return _untrained(name)


def _untrained(name: str) -> nn.Module:
    if name == "generator":
        from labsupport.models.hart.generator import Hart

        return Hart(HartConfig())
    if name == "tokenizer":
        from labsupport.models.hart.tokenizer import new_tokenizer

        return new_tokenizer(HartConfig())
    if name == "clip":
        from labsupport.models.clip.model import clip

        # its text tower reads at the largest number of a caption: the ground, which comes last
        return clip(
            JUDGE_SIZE,
            6,
            len(VOCABULARY),
            TEXT_LENGTH,
            width=64,
            depth=3,
            heads=4,
            text_width=64,
            text_depth=2,
            text_heads=4,
            embed_dim=64,
        )
    if name not in CHECKPOINTS:
        raise ValueError(f"no network {name!r} is shipped; choose from {', '.join(CHECKPOINTS)}")
    return JudgeNet([len(words) for words in CHOICES], size=JUDGE_SIZE, **JUDGES[name[-1]])


@overload
def pretrained(name: Literal["generator"] = ...) -> Hart: ...
@overload
def pretrained(name: Literal["tokenizer"]) -> HybridTokenizer: ...
@overload
def pretrained(name: Literal["judge a", "judge b"]) -> JudgeNet: ...
@overload
def pretrained(name: Literal["clip"]) -> CLIP: ...
def pretrained(name: str = "generator") -> nn.Module:
    """The shipped network of this name with its weights, in eval mode; the generator has the
    shipped tokenizer. Raises ValueError for a name that is not known."""
    if name == "generator":
        hart = untrained()
        load_checkpoint(hart.tokenizer, CHECKPOINTS["tokenizer"])
        load_checkpoint(hart.learned(), CHECKPOINTS[name])
        return hart.eval()
    net = _untrained(name)
    load_checkpoint(net, CHECKPOINTS[name])
    return net.eval()
