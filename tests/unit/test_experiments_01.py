"""Lab 01's experiments: they run, and what is stored belongs to the code that made it."""

import hashlib

import pytest

from labsupport.data.results import as_stored, read_result
from labsupport.experiments.lab01 import checkpoint, data_scaling
from labsupport.labs.lab01 import data_scaling as studies
from labsupport.metrics.classification import accuracy
from labsupport.models.weights import checkpoint_path, load_checkpoint, read_metadata


def stored(name):
    return read_result(name)


def test_smoke_profile_of_data_scaling():
    settings, records, longer = data_scaling.run("smoke", seeds=[0], sizes=[1], progress=False)
    assert [record["model"] for record in records] == ["ViT", "CNN"]
    assert [record["steps"] for record in records + longer] == [2, 2, 6, 6]
    assert (settings["steps"], settings["longer_steps"]) == (2, 6)


def test_stored_data_scaling_is_complete_and_has_today_s_settings():
    result = stored("01_data_scaling")
    assert result.settings == as_stored(data_scaling.settings(studies.STEPS, studies.TEST_IMAGES))
    runs = [(r["model"], r["images_per_class"], r["seed"]) for r in result.records]
    expected = {
        (model, size, seed)
        for model in ("ViT", "CNN")
        for size in data_scaling.SIZES
        for seed in data_scaling.SEEDS
    }
    assert len(runs) == len(expected)
    assert set(runs) == expected
    assert {r["steps"] for r in result.records} == {studies.STEPS}
    longer = {(r["model"], r["images_per_class"], r["steps"]) for r in result.more["longer"]}
    steps = data_scaling.LONGER * studies.STEPS
    assert longer == {(model, data_scaling.SIZES[-1], steps) for model in ("ViT", "CNN")}


def test_learning_rates_are_the_best_of_the_stored_sweep():
    records = stored("01_learning_rates").records
    for model, lr in studies.LEARNING_RATES.items():
        best = max((r for r in records if r["model"] == model), key=lambda r: r["validation"])
        assert lr == best["lr"]


def test_shipped_checkpoint_has_the_accuracy_on_record():
    model = checkpoint.make_vit()
    load_checkpoint(model, "01_vit")
    result = stored("01_checkpoint")
    (record,) = result.records
    for name, test in studies.fresh_renders(studies.TEST_IMAGES).items():
        # A few images near a decision boundary may fall the other way on another processor
        assert accuracy(model, *test) == pytest.approx(record[name], abs=0.005)
    assert read_metadata("01_vit")["command"] == result.command


def test_checkpoint_readme_states_the_checksum():
    file = checkpoint_path("01_vit")
    assert file.stat().st_size < 1.5e6
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert checksum in (file.parent / "README.md").read_text()
