"""Fréchet distance between two sets of feature vectors.

M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (NeurIPS 2017), section 3, there
with the features of an Inception network (FID). With other features values mean something else,
and they depend on how many images there are: compare within one table only.
"""

import torch
from torch import Tensor


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) for vectors (n, dim) and (m, dim).

    m and C are mean and covariance of each set. Raises ValueError for fewer than two vectors.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"a covariance needs two vectors, but there are {len(first)} and {len(second)}"
        )
    first, second = first.double(), second.double()
    gap = (first.mean(0) - second.mean(0)).square().sum()
    cov1, cov2 = (x.T.cov().view(x.shape[1], x.shape[1]) for x in (first, second))
    # tr (C1 C2)^½ is the sum of the roots of its eigenvalues, which are real and not negative
    roots = torch.linalg.eigvals(cov1 @ cov2).real.clamp(min=0).sqrt().sum()
    return (gap + cov1.trace() + cov2.trace() - 2 * roots).item()
