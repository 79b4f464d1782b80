"""Pictures of what no training of lab 10 shows: things it has no word for, another hand's style."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.data.emoji import STYLES
from labsupport.data.render import ALPHA_SIDE, TILE, sprite_bank
from labsupport.data.stickers import THINGS, attributes_of, captions, combinations, draw_stickers

UNKNOWN = ("dog", "guitar", "octopus", "bicycle")  # no stickers, so no words for them either
SHARE = 0.92  # longest side of a thing, in shares of the image's: that of a big sticker


def unknown_thing(name: str, ground: str, size: int = 48) -> Tensor:
    """A picture (3, size, size) in [0, 1] of a thing that is no sticker, big, on a ground of
    stickers. Raises ValueError for a thing that no drawing shows."""
    corner = draw_stickers(attributes_of([f"{THINGS[0]} on {ground}"]), size, jitter=0.0)
    colour = corner.images[0, :, 0, 0]
    sprite = sprite_bank((name,), STYLES[:1]).levels[TILE]
    # the thing's box fills ALPHA_SIDE of TILE
    zoom = ALPHA_SIDE / TILE / SHARE
    grid = F.affine_grid(
        torch.tensor([[[zoom, 0.0, 0.0], [0.0, zoom, 0.0]]]), [1, 4, TILE, TILE], False
    )
    sprite = F.grid_sample(sprite, grid, align_corners=False)
    image = sprite[:, :3] + (1 - sprite[:, 3:]) * colour[:, None, None]
    return F.interpolate(image, size=(size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)


def other_style(caption: str, size: int = 48, seed: int = 0) -> Tensor:
    """The sticker of a caption, (3, size, size) in [0, 1], in the style that no training shows."""
    return draw_stickers(attributes_of([caption]), size, seed=seed, style=STYLES[1]).images[0]


def any_caption(seed: int) -> str:
    """A caption of all that there can be, whether training has it or not."""
    every = combinations("all")
    row = torch.randint(len(every), (1,), generator=torch.Generator().manual_seed(seed))
    return captions(every[row])[0]
