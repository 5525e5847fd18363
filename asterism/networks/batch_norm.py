"""Batch norm whose running statistics move only when its network trains.

PyTorch's layer moves them in every forward pass in training mode: when another network's update runs through a frozen
one, in passes without gradients, and twice where activations are computed again for the backward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.networks.sizes import SizeError

_frozen = False


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's layer (arXiv:1502.03167), with its keys; in training it normalises by the batch's own statistics.

    Samples of a batch meet here: a recipe that trains it says `coupled`.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        if not self.training:
            return super().forward(x)
        if x.numel() == x.shape[1]:
            raise SizeError(
                "a batch of one picture has no batch statistics in these networks: give --train.batch_size 2 or more"
            )
        mean, var = None, None
        if torch.is_grad_enabled() and self.weight.requires_grad:
            mean, var = self.running_mean, self.running_var
            if _frozen:  # What is recomputed keeps the tensors that the first pass kept, and leaves these as they are.
                mean, var = mean.clone(), var.clone()
            else:
                self.num_batches_tracked.add_(1)
        return F.batch_norm(x, mean, var, self.weight, self.bias, True, self.momentum or 0.0, self.eps)


def moved(running: Tensor, now: Tensor, share: float, weight: Tensor) -> None:
    """Move running statistics by a share towards those of this pass, if its network trains; `weight` is the norm's."""
    if torch.is_grad_enabled() and weight.requires_grad and not _frozen:
        running.lerp_(now.detach().to(running.dtype), share)


class FrozenStatistics:
    """Within it, no running statistics move: a pass is made again whose first time moved them.

    It may be entered again, as PyTorch does where a pass is made more than twice, for the gradient of a gradient.
    """

    def __enter__(self) -> None:
        """Hold them."""
        global _frozen
        self.before, _frozen = _frozen, True

    def __exit__(self, *error: object) -> None:
        """Let them go."""
        global _frozen
        _frozen = self.before
