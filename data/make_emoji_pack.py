"""Make the emoji pack of labsupport from two npm packages.

    npm pack emoji-datasource-google@16.0.0
    npm pack emoji-datasource-twitter@16.0.0
    python data/make_emoji_pack.py emoji-datasource-google-16.0.0.tgz \
        emoji-datasource-twitter-16.0.0.tgz

Writes `emoji/noto.webp`, `emoji/twemoji.webp`, `emoji/concepts.json` and `SHA256SUMS` into the
output folder (the folder of this script unless told otherwise). The same inputs and the same
versions of Pillow and libwebp give the same bytes; README.md says which were used.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
SOURCES = {"noto": "google", "twemoji": "twitter"}
ARCHIVES = {
    "noto": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twemoji": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}
TILE = 64  # side of a sprite, and of the images in the packages
ALPHA_SIDE = 56  # longest side of the sprite's alpha box
ALPHA_VISIBLE = 8  # fainter pixels are antialiasing dust and do not count for the box
COLUMNS = 40


class Package:
    """Reads the files of an npm package, unpacked in a folder or packed in a .tgz."""

    def __init__(self, path: Path, sha256: str):
        self.folder = path if path.is_dir() else None
        if self.folder is None:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise SystemExit(f"{path}: not the expected archive, its SHA-256 must be {sha256}")
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                files = [m for m in archive if m.isfile() and self._wanted(m.name)]
                self.files = {m.name: archive.extractfile(m).read() for m in files}

    @staticmethod
    def _wanted(name: str) -> bool:
        return name.endswith("emoji.json") or "/64/" in name

    def has(self, name: str) -> bool:
        if self.folder is not None:
            return (self.folder / name).is_file()
        return f"package/{name}" in self.files

    def read(self, name: str) -> bytes:
        if self.folder is not None:
            return (self.folder / name).read_bytes()
        return self.files[f"package/{name}"]


def clean_names(records: list[dict], corrections: dict[str, str]) -> list[str]:
    """English names fit for captions, one per record, all different.

    Unicode's names in lower case, with three changes: corrections from emoji_names.json; "face"
    dropped from animals' heads (the full figure of the same animal becomes "… in profile");
    "sign" and "symbol" dropped at the end.
    """
    raw = [record["name"].lower().replace("’", "'") for record in records]
    unknown = set(corrections) - set(raw)
    if unknown:
        raise SystemExit(f"emoji_names.json: no emoji is called {sorted(unknown)}")
    heads = {
        name.removesuffix(" face")
        for name, record in zip(raw, records, strict=True)
        if record["subcategory"].startswith("animal") and name.endswith(" face")
    }
    names = []
    for name, record in zip(raw, records, strict=True):
        animal = record["subcategory"].startswith("animal")
        if name in corrections:
            name = corrections[name]
        elif animal and name.endswith(" face"):
            name = name.removesuffix(" face")
        elif animal and name in heads:
            name = f"{name} in profile"
        elif name == "robot face":
            name = "robot"
        elif record["category"] != "Symbols":
            name = name.removesuffix(" sign").removesuffix(" symbol")
        names.append(name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SystemExit(f"names must differ, these occur more than once: {twice}")
    return names


def choose_concepts(packages: dict[str, Package]) -> list[dict]:
    """Single-codepoint emoji drawn in both styles, in Unicode's chart order."""
    records = sorted(
        json.loads(packages["noto"].read("emoji.json")), key=lambda record: record["sort_order"]
    )

    def wanted(record: dict) -> bool:
        codepoints = [c for c in record["unified"].split("-") if c != "FE0F"]
        drawn = all(packages[style].has(image_path(style, record["image"])) for style in SOURCES)
        return len(codepoints) == 1 and record["subcategory"] != "skin-tone" and drawn

    return [record for record in records if wanted(record)]


def image_path(style: str, image: str) -> str:
    return f"img/{SOURCES[style]}/{TILE}/{image}"


def normalise(image: Image.Image) -> np.ndarray:
    """Scale and centre a sprite: its alpha box gets a longest side of ALPHA_SIDE pixels.

    Returns uint8 (TILE, TILE, 4), colour zero where transparent. Pillow resamples RGBA images
    with premultiplied colour, so that transparent pixels do not bleed into the edge.
    """
    image = image.convert("RGBA")
    alpha = image.getchannel("A").point(lambda value: 255 * (value >= ALPHA_VISIBLE))
    left, top, right, bottom = alpha.getbbox()
    factor = ALPHA_SIDE / max(right - left, bottom - top)
    width = max(1, round(factor * (right - left)))
    height = max(1, round(factor * (bottom - top)))
    sprite = image.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    tile = Image.new("RGBA", (TILE, TILE))
    tile.paste(sprite, ((TILE - width) // 2, (TILE - height) // 2))
    pixels = np.array(tile)
    pixels[pixels[..., 3] == 0] = 0
    return pixels


def make_sheet(package: Package, style: str, records: list[dict]) -> Image.Image:
    """All sprites of a style in one picture, row by row."""
    rows = -(-len(records) // COLUMNS)
    sheet = np.zeros((rows * TILE, COLUMNS * TILE, 4), dtype=np.uint8)
    for index, record in enumerate(records):
        y, x = TILE * (index // COLUMNS), TILE * (index % COLUMNS)
        picture = Image.open(io.BytesIO(package.read(image_path(style, record["image"]))))
        sheet[y : y + TILE, x : x + TILE] = normalise(picture)
    return Image.fromarray(sheet)


def describe(records: list[dict], names: list[str]) -> str:
    """The text of concepts.json: one concept per line."""
    head = {
        "version": 1,
        "source": "emoji-datasource 16.0.0",
        "sheet": {"tile": TILE, "columns": COLUMNS, "alpha_side": ALPHA_SIDE},
        "styles": list(SOURCES),
    }
    lines = [
        json.dumps(
            {
                "codepoint": record["unified"].split("-")[0],
                "name": name,
                "short_name": record["short_name"],
                "category": record["category"],
                "subcategory": record["subcategory"],
            },
            ensure_ascii=False,
        )
        for record, name in zip(records, names, strict=True)
    ]
    return json.dumps(head)[:-1] + ', "concepts": [\n' + ",\n".join(lines) + "\n]}\n"


def write_checksums(folder: Path) -> None:
    """SHA256SUMS of every file of the pack that is present, as sha256sum -c reads it."""
    files = sorted([*folder.glob("emoji/*"), *folder.glob("licences/*")])
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    lines = [
        f"{digest}  {file.relative_to(folder).as_posix()}"
        for digest, file in zip(digests, files, strict=True)
    ]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the emoji pack from two npm packages.")
    parser.add_argument("google", type=Path, help="emoji-datasource-google 16.0.0, folder or .tgz")
    parser.add_argument("twitter", type=Path, help="emoji-datasource-twitter 16.0.0, likewise")
    parser.add_argument("--out", type=Path, default=HERE, help="output folder (default: data/)")
    arguments = parser.parse_args()

    paths = {"noto": arguments.google, "twemoji": arguments.twitter}
    packages = {style: Package(path, ARCHIVES[style]) for style, path in paths.items()}
    records = choose_concepts(packages)
    corrections = json.loads((HERE / "emoji_names.json").read_text(encoding="utf-8"))
    names = clean_names(records, corrections)

    out = arguments.out / "emoji"
    out.mkdir(parents=True, exist_ok=True)
    (out / "concepts.json").write_text(describe(records, names), encoding="utf-8")
    for style, package in packages.items():
        sheet = make_sheet(package, style, records)
        # exact keeps colours as they are under alpha 0 (all zero), so decoding is lossless.
        sheet.save(out / f"{style}.webp", lossless=True, quality=100, method=6, exact=True)
    write_checksums(arguments.out)
    print(f"{len(records)} concepts in {out}")


if __name__ == "__main__":
    main()
