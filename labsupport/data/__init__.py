"""Data for the labs: rendered emoji that need no download, and public data sets that do.

Rooms to draw from: `singles` (images of one thing), `scenes` (several things, captions, masks),
`pairs` (two things, lab 06), `rule_scenes` (a sign decides what a thing is, lab 03), `hues` (one
thing in colours of its own, lab 07), `stickers` (captions for generation, labs 08 and 09),
`click_scenes` and `clicks` (things on things, and what a click may mean, lab 04), `public`
(torchvision's data sets), `batch` (what most of them return).
Rooms behind them: `emoji` (the sprites), `concepts` (which things), `splits` (training and test,
random streams), `captions`, `backgrounds`, `layout` (where things lie), `nesting` (what is on
what), `render` (pixels), `drawing` (all of that together), `arguments` (checks).
Rooms beside them: `transforms` ([0, 1] to [-1, 1] and back), `augment` (random views), `results`
(records of the long runs).
"""

from labsupport.files import data_path, data_root

from .backgrounds import BACKGROUNDS
from .batch import Batch
from .concepts import CONCEPTS, concept_names
from .emoji import STYLES, EmojiPack, load_emoji
from .public import PUBLIC, PublicImages, public
from .scenes import scenes
from .singles import singles
from .splits import SPLITS, held_out, held_out_style
from .transforms import normalize

__all__ = [
    "BACKGROUNDS",
    "Batch",
    "CONCEPTS",
    "EmojiPack",
    "PUBLIC",
    "PublicImages",
    "SPLITS",
    "STYLES",
    "concept_names",
    "data_path",
    "data_root",
    "held_out",
    "held_out_style",
    "load_emoji",
    "normalize",
    "public",
    "scenes",
    "singles",
]
