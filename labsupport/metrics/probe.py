"""Linear probes: what frozen features are worth to a linear classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor


def linear_probe(
    train: Tensor,
    labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    penalty: float = 1e-2,
    steps: int = 100,
) -> float:
    """Accuracy (0 to 1) on `test` features (n, dim) of logistic regression on `train` features.

    Features are standardised by the mean and deviation of `train`, which is what the batch norm
    without weights in front of a linear probe does (K. He et al., 2022, appendix A.1). `penalty`
    times half the squared weights is added to the mean cross-entropy; L-BFGS, `steps` at most.
    """
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    train, test = (train - mean) / deviation, (test - mean) / deviation
    classes = int(max(labels.max(), test_labels.max())) + 1
    weight = torch.zeros(train.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(train @ weight + bias, labels) + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return ((test @ weight + bias).argmax(1) == test_labels).double().mean().item()
