"""Training learns, repeats and leaves the global state alone; checkpoints load whole or not."""

import itertools

import pytest
import torch
from torch import nn

from labsupport.metrics.classification import accuracy
from labsupport.models.weights import load_checkpoint, read_metadata, save_checkpoint
from labsupport.training.loop import shuffled_batches, train_classifier
from labsupport.training.schedule import learning_rate_factor


def toy(n=64):
    """Images whose class is the brighter half; a linear classifier can learn them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, 2, 2, generator=generator)
    labels = (images[:, 0, 0].sum(-1) > images[:, 0, 1].sum(-1)).long()
    return images, labels


def model(seed=0, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 2))


def train(network, **changes):
    settings = dict(steps=100, batch_size=16, lr=0.05, weight_decay=0.0, seed=3, progress=False)
    return train_classifier(network, *toy(), **(settings | changes))


def test_training_learns_and_reports_every_step():
    network = model()
    before = accuracy(network, *toy())
    history = train(network)
    assert len(history.loss) == len(history.lr) == 100
    assert history.loss[-1] < 0.3 * history.loss[0]
    assert accuracy(network, *toy()) > max(0.95, before)
    assert not network.training
    assert history.seconds > 0


def test_training_repeats_with_its_seed_and_differs_with_another():
    first, again, other = (train(model(dropout=0.5), seed=s, steps=5).loss for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_training_does_not_touch_the_global_random_numbers():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    train(model(dropout=0.5), steps=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_learning_rate_rises_for_a_tenth_then_falls_to_nearly_nothing():
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert all(a > b for a, b in itertools.pairwise(factors[9:]))
    assert 0 < factors[-1] < 1e-3
    assert train(model(), lr=0.05).lr == pytest.approx([0.05 * f for f in factors])


def test_batches_hold_every_index_once_a_round():
    batches = list(shuffled_batches(10, 4, 5, torch.Generator().manual_seed(0)))
    assert all(len(batch) == 4 for batch in batches)
    order = torch.cat(batches)
    assert sorted(order[:10].tolist()) == sorted(order[10:].tolist()) == list(range(10))
    assert order[:10].tolist() != order[10:].tolist()


def test_a_batch_may_be_larger_than_the_data():
    (batch,) = shuffled_batches(3, 7, 1, torch.Generator().manual_seed(0))
    assert torch.bincount(batch).sort().values.tolist() == [2, 2, 3]


def test_accuracy_counts_over_batches_in_eval_mode_and_restores_the_mode():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    images = torch.eye(4).view(4, 1, 2, 2)
    assert accuracy(network, images, torch.tensor([0, 1, 2, 0]), batch_size=3) == 0.75
    assert network.training


@pytest.mark.parametrize(
    "fault",
    [
        lambda x, y: train_classifier(model(), x, y[:-1], steps=1, batch_size=2, lr=0.1),
        lambda x, y: train_classifier(model(), x[:0], y[:0], steps=1, batch_size=2, lr=0.1),
        lambda x, y: accuracy(model(), x, y[:-1]),
        lambda x, y: train_classifier(model(), x, y, steps=0, batch_size=2, lr=0.1),
    ],
)
def test_bad_arguments_are_one_line(fault):
    with pytest.raises(ValueError, match="must be") as error:
        fault(*toy(8))
    assert "\n" not in str(error.value)


def test_a_diverging_run_stops_with_a_reason():
    images, labels = toy()
    with pytest.raises(FloatingPointError, match="at step 1; try a smaller lr"):
        train_classifier(
            model(), images * float("inf"), labels, steps=3, batch_size=4, lr=1.0, progress=False
        )


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
