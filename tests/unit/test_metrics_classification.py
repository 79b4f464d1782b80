"""Accuracy: counted over batches, in eval mode."""

import pytest
import torch
from torch import nn

from labsupport.metrics.classification import accuracy


def test_accuracy_counts_over_batches_in_eval_mode_and_restores_the_mode():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    images = torch.eye(4).view(4, 1, 2, 2)
    assert accuracy(network, images, torch.tensor([0, 1, 2, 0]), batch_size=3) == 0.75
    assert network.training


def test_images_and_labels_must_be_equally_many():
    with pytest.raises(ValueError, match="must be equally many"):
        accuracy(nn.Flatten(), torch.zeros(8, 1, 2, 2), torch.zeros(7))
