"""Weights in files: they load whole or not at all, and say why not."""

import pytest
import torch
from torch import nn

from labsupport.models.weights import load_checkpoint, read_metadata, save_checkpoint


def model(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Dropout(0.0), nn.Linear(8, 2))


def test_checkpoint_round_trip_with_notes(tmp_path):
    source, target = model(0), model(1)
    notes = {"seed": "0", "command": "none", "accuracy": "0.5"}
    path = save_checkpoint(source, tmp_path / "new" / "a.safetensors", notes)
    load_checkpoint(target, path)
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)
    assert read_metadata(path) == notes
    again = save_checkpoint(target, tmp_path / "b.safetensors", notes)
    assert again.read_bytes() == path.read_bytes()


def test_checkpoint_that_does_not_fit_says_why_and_changes_nothing(tmp_path):
    path = save_checkpoint(model(), tmp_path / "a.safetensors")
    other = nn.Sequential(nn.Flatten(), nn.Linear(5, 8), nn.Identity(), nn.Linear(8, 2, bias=False))
    other.extra = nn.Parameter(torch.zeros(3))
    before = other[1].weight.clone()
    with pytest.raises(ValueError) as error:
        load_checkpoint(other, path)
    message = str(error.value)
    assert "\n" not in message
    assert "missing from the file: extra" in message
    assert "not in the model: 3.bias" in message
    assert "1.weight (8, 4), in the model (8, 5)" in message
    assert torch.equal(other[1].weight, before)


def test_checkpoint_errors_for_absent_and_damaged_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(model(), tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="99_none.safetensors"):
        load_checkpoint(model(), "99_none")
    damaged = tmp_path / "bad.safetensors"
    damaged.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="bad.safetensors is not a readable safetensors file"):
        load_checkpoint(model(), damaged)
