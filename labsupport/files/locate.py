"""Paths of the repository's data files, in a checkout and in an installed package."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """The folder that holds `emoji/`, `checkpoints/` and `results/`.

    The environment variable LABSUPPORT_DATA names it if set; otherwise it is `data/pack/` in the
    package (an installed wheel) or the repository's `data/` folder (a checkout).

    Raises:
        FileNotFoundError: no such folder.
    """
    override = os.environ.get("LABSUPPORT_DATA")
    if override:
        if not Path(override).is_dir():
            raise FileNotFoundError(
                f"LABSUPPORT_DATA is {override!r}, which is not a folder; unset it, or name the "
                "folder that holds emoji/"
            )
        return Path(override)
    for folder in (_PACKAGE / "data" / "pack", _PACKAGE.parent / "data"):
        if (folder / "emoji").is_dir():
            return folder
    raise FileNotFoundError(
        "the embedded data were not found; reinstall labsupport, or set LABSUPPORT_DATA to the "
        "repository's data/ folder"
    )


def data_path(*parts: str) -> Path:
    """The path of an existing data file, for instance `data_path("emoji", "concepts.json")`.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    path = data_root().joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(
            f"{'/'.join(parts)} is missing from {data_root()}; reinstall labsupport, or set "
            "LABSUPPORT_DATA to the repository's data/ folder"
        )
    return path
