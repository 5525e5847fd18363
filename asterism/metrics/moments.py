"""Mean and covariance of features that stream by, and the Fréchet distance between two sets of them.

Shapes: N pictures, D features. All sums are float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Count, mean and scatter of features, added batch by batch; the result does not depend on the batches' sizes.

    Args:
        dims: D.
    """

    def __init__(self, dims: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dims, dtype=torch.float64)
        self.scatter = torch.zeros(dims, dims, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in features [N, D]."""
        x = features.detach().to("cpu", torch.float64)
        batch = Moments(x.shape[1])
        batch.count, batch.mean = len(x), x.mean(0)
        centred = x - batch.mean
        batch.scatter = centred.T @ centred
        self.merge(batch)

    def merge(self, other: Moments) -> None:
        """Take in what another has seen (Chan et al. 1979)."""
        if not other.count:
            return
        total = self.count + other.count
        shift = other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.count * other.count / total)
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, float64 [D, D]; needs two pictures."""
        return self.scatter / (self.count - 1)

    def state(self) -> dict[str, Tensor]:
        """Return tensors that `from_state` takes back."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Moments:
        """Rebuild from `state`."""
        moments = cls(len(state["mean"]))
        moments.count, moments.mean, moments.scatter = int(state["count"]), state["mean"], state["scatter"]
        return moments


def frechet_distance(a: Moments, b: Moments) -> float | None:
    """Return |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)): FID (arXiv:1706.08500, Eq. 6) on whatever the features are.

    The trace of the root is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric, so that a
    covariance of few pictures needs no correction.

    Returns:
        At least 0; None where one of them has fewer than two pictures, which have no covariance.
    """
    if min(a.count, b.count) < 2:
        return None
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross
    return max(0.0, float(distance))
