"""The embedded emoji: files, names, sprites, and how concepts and splits are chosen."""

import hashlib
import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from labsupport.data import (
    CONCEPTS,
    STYLES,
    concept_names,
    data_path,
    data_root,
    held_out,
    held_out_style,
    load_emoji,
)


def alpha_box(sprite):
    """Left, top, right, bottom of the pixels that are visible."""
    rows, columns = np.nonzero(sprite[..., 3] >= 8)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_files_are_the_published_ones():
    lines = data_path("SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    for name, digest in listed.items():
        assert hashlib.sha256(data_path(*name.split("/")).read_bytes()).hexdigest() == digest, name
    present = {
        path.relative_to(data_root()).as_posix()
        for folder in ("emoji", "licences")
        for path in (data_root() / folder).iterdir()
    }
    assert present == set(listed)


def test_readme_gives_every_checksum_and_licence():
    text = data_path("README.md").read_text(encoding="utf-8")
    for line in data_path("SHA256SUMS").read_text(encoding="utf-8").splitlines():
        assert line.split("  ")[0] in text, line
    for words in ("Apache-2.0", "CC BY 4.0", "MIT", "Copyright Google", "Copyright Twitter, Inc"):
        assert words in text


def test_names_are_clean_and_different():
    pack = load_emoji()
    assert len(pack) == len(set(pack.names)) == len(set(pack.codepoints)) >= 1300
    for name in pack.names:
        assert name == name.strip().lower() and "_" not in name and "  " not in name
    assert "skin-tone" not in pack.subcategories


def test_sprites_of_both_styles_have_the_same_form():
    pack = load_emoji()
    for style in STYLES:
        sprites = pack.sprites[style]
        assert sprites.shape == (len(pack), 64, 64, 4) and sprites.dtype == np.uint8
        assert not sprites.flags.writeable
        assert (sprites[sprites[..., 3] == 0] == 0).all(), "colour under transparent pixels"
        assert not np.concatenate([sprites[:, :4], sprites[:, 60:]], axis=1).any()
        assert not np.concatenate([sprites[:, :, :4], sprites[:, :, 60:]], axis=2).any()


def test_both_styles_share_the_alpha_box():
    pack = load_emoji()
    for name in CONCEPTS:
        for style in STYLES:
            left, top, right, bottom = alpha_box(pack.sprites[style][pack.find(name)])
            assert max(right - left, bottom - top) == 56, (name, style)
            assert abs(left + right - 64) <= 2 and abs(top + bottom - 64) <= 2, (name, style)


def test_select_combines_conditions():
    pack = load_emoji()
    animals = pack.select(category="Animals & Nature", subcategory="animal")
    assert {"cat", "dog", "frog"} <= set(animals) and "sunflower" not in animals
    umbrellas = pack.select(contains="umbrella")
    assert "umbrella" in umbrellas and all("umbrella" in name for name in umbrellas)
    with pytest.raises(ValueError, match="^category is 'Cars', but must be one of: Activities"):
        pack.select(category="Cars")


def test_default_concepts_are_fixed_and_nested():
    assert len(CONCEPTS) == len(set(CONCEPTS)) == 40
    assert concept_names(20) == CONCEPTS[:20] == concept_names(40)[:20]
    assert concept_names(["dog", "green apple"]) == ("dog", "green apple")
    pack = load_emoji()
    unwanted = {"Flags", "People & Body", "Symbols"}
    assert not unwanted & {pack.categories[pack.find(name)] for name in CONCEPTS}


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        (0, "concepts is 0, but must be between 1 and 40"),
        (41, "concepts is 41, but must be between 1 and 40"),
        ([], "concepts must be a number from 1 to 40 or a non-empty list"),
        ("cat", "concepts must be a number from 1 to 40 or a non-empty list"),
        (["cat", "gitar"], "no emoji is called 'gitar'; did you mean 'guitar'"),
        (["cat", "dog", "cat"], "'cat' is given more than once"),
    ],
)
def test_bad_concepts_are_explained_in_one_line(concepts, message):
    with pytest.raises(ValueError) as caught:
        concept_names(concepts)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_concept_split_is_a_partition():
    kept, out = held_out(40, fraction=0.2, seed=0)
    assert len(kept) == 32 and len(out) == 8
    assert not set(kept) & set(out) and set(kept) | set(out) == set(CONCEPTS)
    assert held_out(40, 0.2, seed=0) == (kept, out) != held_out(40, 0.2, seed=1)
    assert list(kept) == sorted(kept, key=CONCEPTS.index)
    assert all(len(part) == 1 for part in held_out(["cat", "dog"], 0.0))
    with pytest.raises(ValueError, match="^fraction is 2, but must be a number from 0"):
        held_out(40, 2)


def test_style_split_names_both_styles():
    assert held_out_style("noto") == ("noto", "twemoji")
    assert held_out_style("twemoji") == ("twemoji", "noto")


def test_missing_data_are_explained_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LABSUPPORT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="LABSUPPORT_DATA is .* not a folder"):
        data_root()
    monkeypatch.setenv("LABSUPPORT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        data_path("emoji", "concepts.json")
    assert "emoji/concepts.json is missing" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_environment_variable_overrides_the_place(tmp_path, monkeypatch):
    (tmp_path / "note.json").write_text(json.dumps({}), encoding="utf-8")
    monkeypatch.setenv("LABSUPPORT_DATA", str(tmp_path))
    assert data_path("note.json") == tmp_path / "note.json"


@pytest.fixture(scope="module")
def pack_script(root):
    path = root / "data" / "make_emoji_pack.py"
    spec = importlib.util.spec_from_file_location("make_emoji_pack", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_normalising_scales_centres_and_keeps_the_colour_of_edges(pack_script):
    picture = np.zeros((64, 64, 4), dtype=np.uint8)
    picture[..., 1] = 255  # green where transparent: must not bleed into the red square
    picture[2:22, 10:50] = (255, 0, 0, 255)
    sprite = pack_script.normalise(Image.fromarray(picture))
    assert alpha_box(sprite) == (4, 18, 60, 46)
    visible = sprite[..., 3] > 0
    assert (sprite[visible][:, 0] == 255).all() and not sprite[visible][:, 1].any()
    assert not sprite[~visible].any()


def test_names_are_cleaned_by_rule_and_by_correction(pack_script):
    def record(name, category="Animals & Nature", subcategory="animal-mammal"):
        return {"name": name, "category": category, "subcategory": subcategory}

    records = [
        record("DOG FACE"),
        record("DOG"),
        record("OK HAND SIGN", "People & Body", "hand"),
        record("WARNING SIGN", "Symbols", "warning"),
        record("AUTOMOBILE", "Travel & Places", "transport-ground"),
    ]
    names = pack_script.clean_names(records, {"automobile": "car"})
    assert names == ["dog", "dog in profile", "ok hand", "warning sign", "car"]
    with pytest.raises(SystemExit, match="no emoji is called"):
        pack_script.clean_names(records, {"no such emoji": "x"})
    with pytest.raises(SystemExit, match="more than once"):
        pack_script.clean_names(records, {"automobile": "dog"})
