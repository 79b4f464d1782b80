"""Lab 06's experiments: they run, and what is stored belongs to the code that made it."""

import hashlib

import pytest
import torch

from labsupport.data.results import as_stored, read_result
from labsupport.experiments.lab06 import contrastive, simclr, word_order
from labsupport.models.clip.model import small_clip
from labsupport.models.weights import checkpoint_path, load_checkpoint, read_metadata


def stored(name):
    return read_result(f"06_{name}")


@pytest.fixture
def small(monkeypatch):
    for name, value in {
        "TRAIN_IMAGES": 160,
        "STEPS": 1,
        "PROBE_STEPS": 1,
        "LONE_IMAGES": 40,
        "ORDER_IMAGES": 10,
        "CHOICES": 10,
    }.items():
        monkeypatch.setattr(contrastive, name, value)


def test_contrastive_runs_and_repeats_nothing(small):
    kept = []
    done = [{"net": "CLIP", "seed": 0}]
    records = contrastive.run(
        [0], ("CLIP", "hard negatives", "supervised"), done, keep=lambda r: kept.append(len(r))
    )
    assert [r["net"] for r in records] == ["CLIP", "hard negatives", "supervised"]
    assert kept == [2, 3] and {*contrastive.CASES, "order", "alignment"} < set(records[1])
    assert set(contrastive.CASES) < set(records[2])


def test_word_order_runs_and_repeats_nothing():
    first, *others = word_order.NETS
    done = [{"net": first, "seed": 0}]
    records = word_order.run(
        [0], done, most_steps=2, train_images=600, test_images=4, progress=False
    )
    assert [r["net"] for r in records] == [first, *others]
    assert records[1]["at"] == [1, 2] and len(records[1]["unseen"]) == 2


def test_simclr_runs_and_repeats_nothing(monkeypatch):
    for name, value in {
        "IMAGES": 16,
        "STEPS": 1,
        "BATCH_SIZE": 8,
        "LABELLED": (40, 80),
        "LABEL_STEPS": 1,
        "PROBE_STEPS": 1,
        "TEST_IMAGES": 40,
    }.items():
        monkeypatch.setattr(simclr, name, value)
    kept = []
    done = [{"net": "untrained", "seed": 0}]
    records = simclr.run([0], done, keep=lambda r: kept.append(len(r)), progress=False)
    assert [r["net"] for r in records] == list(simclr.NETS) and kept == [2, 3, 4]
    assert all(0 <= r["accuracy, 80 labels"] <= 1 for r in records[1:])
    # the first loss is that of guessing among 15 other views
    assert records[1]["loss"] == pytest.approx(2.7, abs=1.5)


def test_stored_simclr_is_complete_and_has_today_s_settings():
    result = stored("simclr")
    assert result.settings == as_stored(simclr.settings())
    assert {(r["net"], r["seed"]) for r in result.records} == {
        (n, s) for n in simclr.NETS for s in simclr.SEEDS
    }


def test_stored_contrastive_is_complete_and_has_today_s_settings():
    result = stored("contrastive")
    assert result.settings == as_stored(contrastive.settings())
    runs = [(r["net"], r["seed"]) for r in result.records]
    assert len(runs) == len(set(runs))
    assert set(runs) == {
        (n, s) for n in (*contrastive.NETS, "linear probe") for s in contrastive.SEEDS
    }


def test_stored_clip_is_five_times_above_chance_where_it_was_never_trained():
    for record in stored("contrastive").records:
        if record["net"] == "CLIP":
            assert record["unseen pairs"] >= 5 / contrastive.CHOICES
            assert record["both unseen"] >= 5 / contrastive.CHOICES
            assert record["one thing, unseen style"] >= 5 / 40
            assert abs(record["order"] - 0.5) < 0.05  # and it does not read


def test_stored_word_order_is_complete_and_has_today_s_settings():
    result = stored("word_order")
    assert result.settings == as_stored(word_order.settings())
    assert {(r["net"], r["seed"]) for r in result.records} == {
        (n, s) for n in word_order.NETS for s in word_order.SEEDS
    }
    for record in result.records:
        assert record["at"][-1] == word_order.NETS[record["net"]][3]


def test_shipped_clip_has_the_shares_on_record():
    model = small_clip()
    load_checkpoint(model, "06_clip")
    record = stored("contrastive").more["shipped"][0]
    again = contrastive.measure_clip(model.eval(), order=100)
    for key in contrastive.CASES:
        assert again[key] == pytest.approx(record[key], abs=0.02), key
    assert record["unseen pairs"] > 0.8
    assert read_metadata("06_clip")["command"] == stored("contrastive").command
    assert 1 <= model.logit_scale.exp() <= 100 + 1e-3


def test_shipped_clip_prefers_the_caption_of_an_image():
    from labsupport.data.pairs import pair_scenes
    from labsupport.data.transforms import normalize
    from labsupport.models.clip.words import tokenize

    model = small_clip()
    load_checkpoint(model, "06_clip")
    batch = pair_scenes(200, held_out=True, split="test", seed=9)
    with torch.no_grad():
        scores = model.eval().similarity(normalize(batch.images), tokenize(batch.captions))
    own = scores.diagonal().mean()
    assert own > scores.mean() + 0.3 and scores.abs().max() <= 1 + 1e-5


def test_checkpoint_readme_states_the_checksum():
    file = checkpoint_path("06_clip")
    assert file.stat().st_size < 3e6
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert checksum in (file.parent / "README.md").read_text()
