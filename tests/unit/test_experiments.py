"""Experiments run, refuse what they must, and what is stored belongs to the code that made it."""

import hashlib
import json

import pytest
import torch
from torch import nn

from labsupport import data
from labsupport.data.locate import data_path
from labsupport.data.transforms import normalize
from labsupport.experiments import experiments_of, find_experiment, labs_with_experiments
from labsupport.experiments.lab01 import checkpoint, data_scaling
from labsupport.experiments.record import resume, write_result
from labsupport.labs.lab01 import data_scaling as studies
from labsupport.metrics.classification import accuracy
from labsupport.models.weights import checkpoint_path, load_checkpoint, read_metadata
from labsupport.profiling.counts import count_parameters


def linear(hidden=4):
    pixels = 3 * studies.IMAGE_SIZE**2
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.Linear(hidden, 40))


def stored(name):
    return json.loads(data_path("results", f"{name}.json").read_text())


def test_balanced_labels_begin_with_a_smaller_balanced_set():
    labels = studies.balanced_labels(5, classes=3)
    for images_per_class in range(1, 6):
        counts = torch.bincount(labels[: 3 * images_per_class])
        assert counts.tolist() == [images_per_class] * 3


def test_data_scaling_run_gives_one_record_a_run_and_repeats():
    def run():
        records = studies.data_scaling_run(
            linear, linear, sizes=[1, 2], seeds=[0, 1], steps=2, test_images=40, progress=False
        )
        return [{k: v for k, v in record.items() if k != "seconds"} for record in records]

    with torch.random.fork_rng():
        torch.manual_seed(1)
        records = run()
        assert run() == records  # whatever the global seed was
    keys = {(r["model"], r["images_per_class"], r["seed"]) for r in records}
    assert len(records) == len(keys) == 8
    for record in records:
        assert record["parameters"] == count_parameters(linear())
        assert all(0 <= record[name] <= 1 for name in ("train", "test", "other_style"))


def test_data_scaling_run_refuses_unequal_parameters():
    with pytest.raises(ValueError, match="make_cnn gives .* they must agree within 2%"):
        studies.data_scaling_run(linear, lambda: linear(5), sizes=[1], seeds=[0], steps=1)


def test_smoke_profile_of_data_scaling():
    settings, records, longer = data_scaling.run("smoke", seeds=[0], sizes=[1], progress=False)
    assert [record["model"] for record in records] == ["ViT", "CNN"]
    assert [record["steps"] for record in records + longer] == [2, 2, 6, 6]
    assert (settings["steps"], settings["longer_steps"]) == (2, 6)


def test_every_experiment_is_found_and_unknown_ones_are_refused():
    for lab, names in ((lab, experiments_of(lab)) for lab in labs_with_experiments()):
        for name in names:
            assert callable(find_experiment(lab, name))
    with pytest.raises(ValueError, match="lab '42' has no experiments; only 01"):
        find_experiment("42", "data_scaling")
    with pytest.raises(ValueError, match="lab 01 has no experiment 'x'; it has learning_rates"):
        find_experiment("01", "x")


def test_a_result_file_says_how_it_was_made(tmp_path):
    path = write_result(
        tmp_path / "results" / "a.json",
        command="labs experiment 01 x",
        settings={"steps": 3},
        records=[{"test": 0.5}],
        seconds=1.6,
        longer=[{"test": 0.6}],
    )
    result = json.loads(path.read_text())
    assert result["records"] == [{"test": 0.5}]
    assert result["longer"] == [{"test": 0.6}]
    assert result["settings"] == {"steps": 3}
    assert result["seconds"] == 2
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert result["versions"]["torch"].startswith(torch.__version__.split("+")[0])


def test_stored_data_scaling_is_complete_and_has_today_s_settings():
    result = stored("01_data_scaling")
    assert result["settings"] == json.loads(
        json.dumps(data_scaling.settings(studies.STEPS, studies.TEST_IMAGES))
    )
    runs = [(r["model"], r["images_per_class"], r["seed"]) for r in result["records"]]
    expected = {
        (model, size, seed)
        for model in ("ViT", "CNN")
        for size in data_scaling.SIZES
        for seed in data_scaling.SEEDS
    }
    assert len(runs) == len(expected)
    assert set(runs) == expected
    assert {r["steps"] for r in result["records"]} == {studies.STEPS}
    longer = {(r["model"], r["images_per_class"], r["steps"]) for r in result["longer"]}
    steps = data_scaling.LONGER * studies.STEPS
    assert longer == {(model, data_scaling.SIZES[-1], steps) for model in ("ViT", "CNN")}


def test_learning_rates_are_the_best_of_the_stored_sweep():
    records = stored("01_learning_rates")["records"]
    for model, lr in studies.LEARNING_RATES.items():
        best = max((r for r in records if r["model"] == model), key=lambda r: r["validation"])
        assert lr == best["lr"]


def test_shipped_checkpoint_has_the_accuracy_on_record():
    model = checkpoint.make_vit()
    load_checkpoint(model, "01_vit")
    result = stored("01_checkpoint")
    (record,) = result["records"]
    for name, style in (("test", "noto"), ("other_style", "twemoji")):
        batch = data.singles(
            studies.TEST_IMAGES,
            studies.IMAGE_SIZE,
            concepts=studies.CONCEPTS,
            style=style,
            split="test",
            seed=studies.TEST_SEED,
        )
        # A few images near a decision boundary may fall the other way on another processor
        measured = accuracy(model, normalize(batch.images), batch.labels)
        assert measured == pytest.approx(record[name], abs=0.005)
    assert read_metadata("01_vit")["command"] == result["command"]


def test_checkpoint_readme_states_the_checksum():
    file = checkpoint_path("01_vit")
    assert file.stat().st_size < 1.5e6
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert checksum in (file.parent / "README.md").read_text()


def test_a_killed_run_goes_on_only_with_the_settings_it_had(tmp_path):
    path, about = tmp_path / "results" / "a.json", {"command": "labs experiment 01 x"}
    done, keep = resume(path, settings={"seeds": (0, 1)}, **about)
    assert done == []
    keep([{"seed": 0}], more=[{"images": 5}])
    assert json.loads(path.read_text())["more"] == [{"images": 5}]
    assert resume(path, settings={"seeds": (0, 1)}, **about)[0] == [{"seed": 0}]
    assert resume(path, settings={"seeds": (0, 2)}, **about)[0] == []
