"""Training: it learns, repeats and leaves the global state alone, by one loop."""

import itertools

import pytest
import torch
import tqdm.std
from torch import nn

from labsupport.metrics.classification import accuracy
from labsupport.training import autocast, loop
from labsupport.training.loop import History, fit, shuffled_batches, train_classifier
from labsupport.training.precision import computes_bfloat16
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


def test_the_bar_is_text_in_notebooks_too(capsys):
    """A bar that is a widget is an error where the notebook is opened again. tqdm.auto chooses one
    in a kernel only, which is not where this runs: so the class itself is held."""
    assert loop.tqdm is tqdm.std.tqdm
    train(model(), steps=3, progress="a title")
    told = capsys.readouterr()
    assert "a title: 100%" in told.err and told.out == ""


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


@pytest.mark.parametrize(
    "fault",
    [
        lambda x, y: train_classifier(model(), x, y[:-1], steps=1, batch_size=2, lr=0.1),
        lambda x, y: train_classifier(model(), x[:0], y[:0], steps=1, batch_size=2, lr=0.1),
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


def descend(steps, first=0, weight=None, optimizer=None, **options):
    """`fit` on w² / 2, whose gradient is w; the weight and the history."""
    weight = nn.Parameter(torch.tensor(2.0)) if weight is None else weight
    optimizer = optimizer or torch.optim.SGD([weight], lr=0.1)
    history = fit(
        lambda _: weight.square() / 2,
        optimizer,
        steps=steps,
        first=first,
        progress=False,
        schedule=lambda step, all_of_them: (step + 1) / all_of_them,
        **options,
    )
    return weight.item(), history


def test_fit_moves_the_weights_at_the_scheduled_rate():
    weight, history = descend(2)
    assert history.lr == pytest.approx([0.05, 0.1]) and history.loss == pytest.approx([2.0, 1.805])
    assert weight == pytest.approx(2 * 0.95 * 0.9)
    assert history.seconds > 0


def test_fit_goes_on_where_a_run_stopped():
    whole, history = descend(4)
    parameter = nn.Parameter(torch.tensor(2.0))
    with torch.no_grad():
        parameter.mul_((1 - 0.1 * 1 / 4) * (1 - 0.1 * 2 / 4))  # what two steps make of it
    again, rest = descend(4, first=2, weight=parameter)
    assert again == pytest.approx(whole) and rest.loss == pytest.approx(history.loss[2:])
    assert rest.lr == pytest.approx(history.lr[2:])


def test_fit_clips_gradients_and_tells_when_the_weights_have_moved():
    parameter, seen = nn.Parameter(torch.tensor(2.0)), []
    weight, _ = descend(
        1,
        weight=parameter,
        clip=0.5,
        after=lambda number, loss: seen.append((number, loss, parameter.item())),
    )
    assert weight == pytest.approx(2 - 0.1 * 0.5)
    assert seen == [(0, 2.0, weight)]


def test_fit_leaves_the_weights_to_a_step_that_gives_a_number():
    parameter = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    history = fit(lambda number: float(number), optimizer, steps=3, progress=False)
    assert history.loss == [0, 1, 2] and parameter.item() == 2 and parameter.grad is None


def test_the_last_loss_is_a_mean_of_what_there_is():
    history = History([4.0, 2.0, 1.0])
    assert history.last_loss(2) == 1.5 and history.last_loss(50) == pytest.approx(7 / 3)


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_is_used_where_the_processor_computes_in_it(monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert computes_bfloat16() == has
    x = torch.ones(2, 2)
    with autocast():
        assert (x @ x).dtype == (torch.bfloat16 if has else torch.float32)
    with autocast(wanted=False):
        assert (x @ x).dtype == torch.float32
