"""The embedded emoji: names, categories and sprites in two drawing styles."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image

from labsupport.files import data_path

STYLES = ("noto", "twemoji")


@dataclass(frozen=True, eq=False)
class EmojiPack:
    """All embedded emoji, concept i at index i of every field.

    Attributes:
        names: clean English names in lower case, all different.
        codepoints: hexadecimal, as in the Unicode charts.
        categories, subcategories: Unicode's grouping, such as "Food & Drink" and "food-fruit".
        sprites: per style, uint8 (concepts, 64, 64, 4), RGBA with straight alpha. The longest
            side of every sprite's alpha box is 56 pixels, centred, in both styles.
    """

    names: tuple[str, ...]
    codepoints: tuple[str, ...]
    categories: tuple[str, ...]
    subcategories: tuple[str, ...]
    sprites: dict[str, np.ndarray]
    _index: dict[str, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int:
        """The index of the concept called `name`.

        Raises:
            ValueError: no concept has this name; close ones are suggested.
        """
        if name in self._index:
            return self._index[name]
        close = difflib.get_close_matches(str(name).lower(), self.names, n=3, cutoff=0.6)
        hint = "see load_emoji().names"
        if close:
            hint = f"did you mean {' or '.join(map(repr, close))}"
        raise ValueError(f"concepts: no emoji is called {name!r}; {hint}")

    def select(
        self,
        category: str | None = None,
        subcategory: str | None = None,
        contains: str | None = None,
    ) -> tuple[str, ...]:
        """The names of all concepts that meet every condition given, in chart order.

        `subcategory` matches by its beginning, so that "animal" means all the animal ones.

        Raises:
            ValueError: an unknown category or subcategory.
        """
        _check_known("category", category, self.categories, category in self.categories)
        begins = tuple(s for s in self.subcategories if s.startswith(subcategory or ""))
        _check_known("subcategory", subcategory, self.subcategories, bool(begins))
        return tuple(
            name
            for name, cat, sub in zip(self.names, self.categories, self.subcategories, strict=True)
            if (category is None or cat == category)
            and (subcategory is None or sub.startswith(subcategory))
            and (contains is None or contains in name)
        )


def _check_known(argument: str, value: str | None, known: tuple[str, ...], found: bool) -> None:
    if value is not None and not found:
        allowed = ", ".join(sorted(set(known)))
        raise ValueError(f"{argument} is {value!r}, but must be one of: {allowed}")


def _read_sheet(style: str, count: int, tile: int, columns: int) -> np.ndarray:
    """Cut a sheet into sprites, uint8 (count, tile, tile, 4)."""
    with Image.open(data_path("emoji", f"{style}.webp")) as picture:
        sheet = np.asarray(picture.convert("RGBA"))
    grid = sheet.reshape(-1, tile, columns, tile, 4).swapaxes(1, 2)  # (rows, columns, h, w, 4)
    sprites = np.ascontiguousarray(grid.reshape(-1, tile, tile, 4)[:count])
    sprites.flags.writeable = False  # shared by every caller
    return sprites


@lru_cache(maxsize=1)
def load_emoji() -> EmojiPack:
    """The embedded emoji, decoded at the first call and shared afterwards.

    Raises:
        FileNotFoundError: the data pack is not there.
    """
    description = json.loads(data_path("emoji", "concepts.json").read_text(encoding="utf-8"))
    concepts, sheet = description["concepts"], description["sheet"]
    names = tuple(concept["name"] for concept in concepts)
    return EmojiPack(
        names=names,
        codepoints=tuple(concept["codepoint"] for concept in concepts),
        categories=tuple(concept["category"] for concept in concepts),
        subcategories=tuple(concept["subcategory"] for concept in concepts),
        sprites={
            style: _read_sheet(style, len(names), sheet["tile"], sheet["columns"])
            for style in STYLES
        },
        _index={name: index for index, name in enumerate(names)},
    )
