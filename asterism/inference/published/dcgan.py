"""DCGAN's published checkpoints: `netG_epoch_{n}.pth` and `netD_epoch_{n}.pth`, each a bare state dict.

Names and shapes are those of ours, running statistics included. Files written by PyTorch 0.3 lack `num_batches_tracked`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.inference.published.containers import Weights, read_state_dict, with_counts
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

UNLABELLED = LabelSpace([LabelGroup("pictures", (), "binary")])


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell generator from discriminator and infer what they were built with.

    Args:
        files: netG, and netD if it is there, in any order.
        space: labels of the pictures, which the model does not use; none: there are none.
        size: height and width of the pictures of training; none takes what the files tell.

    Raises:
        ModelError: files that are not DCGAN's, or that were made for pictures of another size.
    """
    networks: dict[str, tuple[Path, Weights]] = {}
    for path, held in ((path, read_state_dict(path)) for path in files):
        name = _network(path, held)
        if name in networks:
            raise ModelError(f"{networks[name][0]} and {path} are both a {name}: give one netG file, and its netD file")
        networks[name] = path, with_counts(held)
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give the netG file, and the netD file as well if there is one")
    path, weights = networks["generator"]
    kernels = [t for t in weights.values() if t.ndim == 4]
    side, channels = 2 << len(kernels), kernels[-1].shape[1]
    if size not in (None, (side, side)):
        raise ModelError(f"{path} makes pictures of {side}x{side}, not {size[0]}x{size[1]}")
    config = {"latent_dim": kernels[0].shape[0], "conv_dim": kernels[-1].shape[0]}
    if "discriminator" in networks:
        config["discriminator_conv_dim"] = networks["discriminator"][1]["main.0.weight"].shape[0]
    return Found(config, space or UNLABELLED, (side, side), channels, networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order."""
    return {
        f"net{letter}_epoch_0.pth": {
            k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()
        }
        for letter, name in (("G", "generator"), ("D", "discriminator"))
        if name not in model.missing
    }


def _network(path: Path, weights: Weights) -> str:
    if weights.get("main.0.weight", torch.empty(0)).shape[2:] != (4, 4):
        raise ModelError(
            f"{path} is not a file of DCGAN, which begins with main.0.weight [.., .., 4, 4]; this one has "
            f"{', '.join(list(weights)[:3]) or 'nothing'}, ..."
        )
    return "generator" if "main.1.weight" in weights else "discriminator"  # In D no norm follows the first convolution.
