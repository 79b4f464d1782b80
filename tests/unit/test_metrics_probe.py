"""The linear probe reads what is there in straight lines, and nothing else."""

import torch

from labsupport.metrics.probe import linear_probe
from labsupport.models.apply import in_parts


def groups(n, dim=4, seed=0):
    """Three classes around three centres, as features and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    return 4 * torch.eye(3, dim)[labels] + torch.randn(n, dim, generator=generator), labels


def test_features_are_those_of_all_images_in_order():
    images = torch.randn(7, 3, 2, 2)
    found = in_parts(lambda part: part.flatten(1) * 2, images, batch_size=3)
    assert torch.equal(found, images.flatten(1) * 2) and not found.requires_grad


def test_probe_finds_classes_that_lines_separate_whatever_the_scale():
    train, test = groups(60), groups(300, seed=1)
    assert linear_probe(*train, *test) > 0.95
    stretch = torch.tensor([1.0, 1000.0, 0.001, 1.0])
    assert linear_probe(train[0] * stretch + 5, train[1], test[0] * stretch + 5, test[1]) > 0.95


def test_probe_guesses_where_there_is_nothing():
    noise = torch.randn(90, 4, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(90) % 3
    other = torch.randn(900, 4, generator=torch.Generator().manual_seed(3))
    assert 0.25 < linear_probe(noise, labels, other, torch.arange(900) % 3) < 0.42


def test_a_feature_that_never_varies_does_no_harm():
    train, labels = groups(60)
    train[:, 3] = 7
    assert linear_probe(train, labels, train, labels) > 0.95
