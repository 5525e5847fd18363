"""pix2pix's published checkpoints: `{epoch}_net_G.pth` and `{epoch}_net_D.pth`, each a bare state dict.

Names and shapes are those of ours, running statistics included. Released weights are G alone, `latest_net_G.pth`. Whether a
generator was trained with dropout leaves no trace in its file; the published ones were.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import Weights, read_state_dict, with_counts
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

INNER = "model.model.1"


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell generator from discriminator and infer what they were built with.

    Args:
        files: G, and D if it is there, in any order.
        space: the domains, of sources and of translations, in that order; none: A, B.
        size: height and width of the pictures of training; none takes the square that the generator halves to one pixel.

    Raises:
        ModelError: files that are not pix2pix's with a U-Net and batch norms, or a space that is not of two domains.
    """
    space = space or LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
    if space.num_labels != 2 or len(space.domain_names) != 2:
        raise ModelError(
            "pix2pix translates from one domain to another: name the two, sources first, not " + ", ".join(space.names)
        )
    networks: dict[str, tuple[Path, Weights]] = {}
    for path, held in ((path, read_state_dict(path)) for path in files):
        name = _network(path, held)
        if name in networks:
            raise ModelError(
                f"{networks[name][0]} and {path} are both a {name}: give one G file and, if there is one, its D file"
            )
        networks[name] = path, with_counts(held)
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give the G file, and the D file as well if there is one")
    path, weights = networks["generator"]
    first, last = weights["model.model.0.weight"], weights.get("model.model.3.weight", torch.empty(0))
    if last.ndim != 4:
        raise ModelError(f"{path} is incomplete; expected a U-Net's, with its last layer model.model.3")
    halvings = 1
    while f"{INNER}{'.model.3' * (halvings - 1)}.model.1.weight" in weights:
        halvings += 1
    config: dict[str, int | bool] = {"conv_dim": first.shape[0], "num_downs": halvings, "running_statistics": False}
    size = size or (1 << halvings, 1 << halvings)
    if "discriminator" in networks:
        config |= _read_discriminator(networks["discriminator"][1])
    else:  # It is built and never used; it must only take the size.
        config["discriminator_layers"] = min(3, (min(size) // 3).bit_length() - 1)
    taken, made = first.shape[1], last.shape[1]
    source = None if taken == made else PictureFormat(taken, *size)
    return Found(config, space, size, made, networks, source=source)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order."""
    if model.recipe.choices:
        count = len(model.space.domain_names)
        raise ModelError(f"pix2pix's published networks are not told a target, and this model was trained for {count} domains")
    step = int(model.info.get("step", 0))
    return {
        f"{step}_net_{letter}.pth": {
            k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()
        }
        for letter, name in (("G", "generator"), ("D", "discriminator"))
        if name not in model.missing
    }


def _network(path: Path, weights: Weights) -> str:
    def is_kernel(key: str) -> bool:
        return key in weights and weights[key].ndim == 4

    if is_kernel("model.model.0.weight") and is_kernel(f"{INNER}.model.1.weight"):
        return "generator"
    if is_kernel("model.0.weight") or is_kernel("net.0.weight"):
        return "discriminator"
    raise ModelError(
        f"{path} is no file of pix2pix: a U-Net has {INNER}.model.1.weight, a discriminator model.0.weight or net.0.weight; "
        f"this one has {', '.join(list(weights)[:3]) or 'nothing'}, ..."
    )


def _read_discriminator(weights: Weights) -> dict[str, int]:
    kernels = [t for t in weights.values() if t.ndim == 4]
    return {
        "discriminator_conv_dim": kernels[0].shape[0],
        "discriminator_layers": 0 if "net.0.weight" in weights else max(1, len(kernels) - 2),
    }
