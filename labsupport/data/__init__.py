"""Data for the labs: rendered emoji that need no download, and public data sets that do."""

from .backgrounds import BACKGROUNDS
from .batch import Batch
from .concepts import CONCEPTS, concept_names
from .emoji import STYLES, EmojiPack, load_emoji
from .locate import data_path, data_root
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
