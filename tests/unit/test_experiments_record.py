"""Records of the long runs: how they are written, found and gone on with."""

import json

import pytest
import torch

from labsupport.data.results import read_result
from labsupport.experiments import experiments_of, find_experiment, labs_with_experiments
from labsupport.experiments.record import Records, Run, resume, write_result
from labsupport.models.weights import read_metadata


def test_every_experiment_is_found_and_unknown_ones_are_refused():
    for lab, names in ((lab, experiments_of(lab)) for lab in labs_with_experiments()):
        for name in names:
            assert callable(find_experiment(lab, name))
    with pytest.raises(ValueError, match="lab '42' has no experiments; only 01"):
        find_experiment("42", "data_scaling")
    with pytest.raises(ValueError, match="'x'; it has checkpoint, data_scaling, learning_rates"):
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


def test_a_killed_run_goes_on_only_with_the_settings_it_had(tmp_path):
    module = "labsupport.experiments.lab05.sparsity"
    first = resume(tmp_path, module, {"seeds": (0, 1)})
    assert first.records == [] and first.more == {}
    path = first.keep([{"seed": 0}], longer=[{"images": 5}])
    assert path == tmp_path / "data/results/05_sparsity.json"
    assert read_result(path).command == first.command == "labs experiment 05 sparsity"
    again = resume(tmp_path, module, {"seeds": (0, 1)})
    assert again.records == [{"seed": 0}] and again.more == {"longer": [{"images": 5}]}
    assert resume(tmp_path, module, {"seeds": (0, 2)}).records == []
    assert Run(tmp_path, module, {"seeds": (0, 1)}).records == []


def test_the_seconds_of_killed_runs_count(tmp_path):
    module = "labsupport.experiments.lab05.sparsity"
    first = resume(tmp_path, module, {})
    first.start -= 100
    path = first.keep([])
    assert read_result(path).seconds == 100
    resume(tmp_path, module, {}).keep([])
    assert read_result(path).seconds == 100
    Run(tmp_path, module, {}).keep([])
    assert read_result(path).seconds == 0


def test_a_net_is_shipped_with_the_command_that_made_it(tmp_path):
    run = Run(tmp_path, "labsupport.experiments.lab05.sparsity", {})
    path = run.ship(torch.nn.Linear(2, 2), "05_net", seed="0")
    assert path == tmp_path / "data/checkpoints/05_net.safetensors"
    assert read_metadata(path) == {"command": "labs experiment 05 sparsity", "seed": "0"}


def test_a_run_takes_one_thread(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Run(tmp_path, "labsupport.experiments.lab05.sparsity", {})
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_records_know_what_is_done_and_are_kept_after_each_that_is_added():
    kept = []
    records = Records([{"net": "a", "seed": 0}], lambda all_of_them: kept.append(len(all_of_them)))
    assert records.have(net="a", seed=0) and records.have(seed=0)
    assert not records.have(net="a", seed=1) and not records.have(style="noto")
    records.add({"net": "a", "seed": 1})
    assert records.have(net="a", seed=1) and kept == [2]
    assert records == [{"net": "a", "seed": 0}, {"net": "a", "seed": 1}]
