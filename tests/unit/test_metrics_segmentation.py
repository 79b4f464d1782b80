"""Intersection over union, against values known otherwise."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.metrics.segmentation import class_iou, mean_iou, predict


def test_class_iou_by_hand():
    targets = torch.tensor([[0, 0, 1], [1, 1, 2]])
    predicted = torch.tensor([[0, 1, 1], [1, 0, 2]])
    assert class_iou(predicted, targets, 4)[:3].tolist() == pytest.approx([1 / 3, 2 / 4, 1])
    assert class_iou(predicted, targets, 4)[3].isnan()
    with pytest.raises(ValueError, match=r"predicted has shape \(2, 3\) and targets \(3,\)"):
        class_iou(predicted, targets[0], 4)


def test_mean_iou_counts_over_all_images_together_and_keeps_the_mode():
    class Say(nn.Module):  # logits that name the class given by the image
        def forward(self, images):
            return F.one_hot(images[:, 0].long(), 3).permute(0, 3, 1, 2).float()

    images = torch.tensor([[[[0.0, 1]]], [[[1.0, 2]]]])
    targets = torch.tensor([[[0, 1]], [[0, 2]]])
    model = Say().train()
    assert mean_iou(model, images, targets, 3, batch_size=1) == pytest.approx(2 / 3)
    assert model.training
    assert predict(model, images, 1).shape == (2, 3, 1, 2)
