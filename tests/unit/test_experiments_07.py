"""Lab 07's experiments: they run, and what is stored belongs to the code that made it."""

import hashlib
from statistics import mean, stdev

import pytest

from labsupport.data.results import as_stored, read_result
from labsupport.experiments.lab07 import mask_ratio, masked_pretraining, natural_colours
from labsupport.models.mae import MaskedAutoencoder, small_mae
from labsupport.models.weights import checkpoint_path, load_checkpoint, read_metadata


def stored(name):
    return read_result(f"07_{name}")


def test_pretraining_runs_repeats_nothing_and_keeps_the_autoencoder():
    kept = []
    done = [{"start": "from scratch", "labels": 80, "seed": 0, "accuracy": 0.5}]
    records = masked_pretraining.run(
        seeds=[0],
        most_steps=1,
        images=800,
        test_images=40,
        progress=False,
        done=done,
        keep=lambda seed, net, records: kept.append(isinstance(net, MaskedAutoencoder)),
    )
    assert records[0] == done[0] and kept == [True] + [False] * (len(kept) - 1)
    assert [(r["start"], r["labels"]) for r in records[1:]] == [
        ("pretraining", 0),
        ("pretrained", 80),
        ("pretrained", 400),
        ("from scratch", 400),
        ("pretrained", 800),
        ("from scratch", 800),
        ("from scratch, longer", 400),
        ("pretrained, longer", 400),
    ]
    assert (
        masked_pretraining.run(seeds=[0], progress=False, test_images=40, done=records) == records
    )


def test_mask_ratio_runs_and_repeats_nothing():
    nets = mask_ratio.NETS[-2:]
    done = [{"draw": "random", "ratio": 0.75, "normalised": False, "seed": 0}]
    records = mask_ratio.run(
        seeds=[0], nets=nets, most_steps=1, images=400, test_images=40, progress=False, done=done
    )
    assert records[0] == done[0] and len(records) == 2
    assert (records[1]["draw"], records[1]["ratio"]) == nets[0][:2]
    assert 0 <= records[1]["probe"] <= 1 and 0 <= records[1]["fine_tuned"] <= 1


def test_natural_colours_run_and_repeat_nothing():
    done = [{"start": "from scratch", "seed": 0, "accuracy": 0.5}]
    records = natural_colours.run(
        seeds=[0], most_steps=1, images=400, test_images=40, progress=False, done=done
    )
    assert records[0] == done[0] and [r["start"] for r in records[1:]] == ["pretrained"]
    assert 0 <= records[1]["probe"] <= 1 and 0 <= records[1]["accuracy"] <= 1


def test_labels_are_one_five_and_ten_percent_and_balanced():
    shares = [n / masked_pretraining.IMAGES for n in masked_pretraining.FINE_TUNE]
    assert shares == [0.01, 0.05, 0.1]
    assert all(n % 40 == 0 for n in masked_pretraining.FINE_TUNE)


def test_stored_pretraining_is_complete_and_has_today_s_settings():
    result = stored("masked_pretraining")
    assert result.settings == as_stored(masked_pretraining.settings())
    runs = [(r["start"], r["labels"], r["seed"]) for r in result.records]
    nets = [("pretraining", 0)]
    nets += [
        (f"{start}, longer", n)
        for n in masked_pretraining.LONGER
        for start in ("pretrained", "from scratch")
    ]
    nets += [(s, n) for n in masked_pretraining.FINE_TUNE for s in ("pretrained", "from scratch")]
    assert len(runs) == len(set(runs))
    assert set(runs) == {(*net, seed) for net in nets for seed in masked_pretraining.SEEDS}


def test_stored_pretraining_gains_more_than_its_error_bars():
    """With 5% and 10% of the labels; with 1% the lab says that nothing is gained."""
    right = {}
    for r in stored("masked_pretraining").records:
        right.setdefault((r["start"], r["labels"]), []).append(r.get("accuracy"))
    for labels in (400, 800):
        good, poor = right["pretrained", labels], right["from scratch", labels]
        assert mean(good) - stdev(good) > mean(poor) + stdev(poor), labels


def test_stored_sweep_is_complete_and_has_today_s_settings():
    result = stored("mask_ratio")
    assert result.settings == as_stored(mask_ratio.settings())
    runs = [(r["draw"], r["ratio"], r["normalised"], r["seed"]) for r in result.records]
    assert len(runs) == len(set(runs))
    assert set(runs) == {(*net, seed) for net in mask_ratio.NETS for seed in mask_ratio.SEEDS}


def test_stored_natural_colours_are_complete_and_have_today_s_settings():
    result = stored("natural_colours")
    assert result.settings == as_stored(natural_colours.settings())
    assert sorted((r["start"], r["seed"]) for r in result.records) == [
        (start, seed) for start in ("from scratch", "pretrained") for seed in natural_colours.SEEDS
    ]


def test_shipped_autoencoder_has_the_loss_on_record():
    net = small_mae()
    load_checkpoint(net, masked_pretraining.CHECKPOINT)
    test, _ = masked_pretraining.test_data()
    record = stored("masked_pretraining").one(start="pretraining", seed=0)
    found = masked_pretraining.held_out_loss(net.eval(), test)
    assert found == pytest.approx(record["test_loss"], abs=0.001)
    notes = read_metadata(masked_pretraining.CHECKPOINT)
    assert notes["command"] == stored("masked_pretraining").command


def test_checkpoint_readme_states_the_checksum():
    file = checkpoint_path(masked_pretraining.CHECKPOINT)
    assert file.stat().st_size < 3e6
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert checksum in (file.parent / "README.md").read_text()
