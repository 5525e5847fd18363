"""GANimation's published checkpoints: `net_epoch_{E}_id_G.pth` and `net_epoch_{E}_id_D.pth`, each a bare state dict.

Their parameters have the names and shapes of ours. Where no labels are given the numbers are OpenFace's 17 action units, in its
order; where no D file says otherwise the pictures are 128 x 128, the only size of the published code. Files of PyTorch 0.3 also
hold running statistics of G's instance norms, which were gathered and never meant to be used: they are dropped. Optimisers'
files, `opt_epoch_...`, are not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from asterism.inference.published.containers import Weights, read_state_dict
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
OPENFACE = LabelSpace([LabelGroup("faces", tuple(f"AU{unit:02}" for unit in UNITS), "number")])
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell generator from discriminator and infer what they were built with.

    Args:
        files: one or two bare state dicts, in any order.
        space: the numbers, in the order of training; none: OpenFace's.
        size: height and width of the pictures of training.

    Raises:
        ModelError: files that are not GANimation's, numbers of another count, or a size that the head was not made for.
    """
    space = space or OPENFACE
    networks: dict[str, tuple[Path, Weights]] = {}
    for path, weights in ((path, read_state_dict(path)) for path in files):
        name = _network(path, weights)
        if name in networks:
            raise ModelError(f"{networks[name][0]} and {path} are both a {name}: give one G file and at most one D file")
        networks[name] = path, {key: t for key, t in weights.items() if key.rpartition(".")[2] not in STATISTICS}
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give the G file, and the D file as well if there is one")
    path, generator = networks["generator"]
    first, colours = (_kernel(path, generator, key) for key in ("main.0.weight", "img_reg.0.weight"))
    channels = colours.shape[0]
    if first.shape[1] - channels != space.code_size:
        raise ModelError(
            f"{path} takes {first.shape[1] - channels} numbers, and these are {space.code_size}: {', '.join(space.names)}; "
            "name all that it was trained on, in that order: --labels faces:number:A,B"
        )
    blocks = sum(1 for key in generator if re.fullmatch(r"main\.\d+\.main\.0\.weight", key))
    config = {"conv_dim": first.shape[0], "num_blocks": blocks}
    if "discriminator" in networks:
        read, made = _read_discriminator(*networks["discriminator"], space)
        if size not in (None, made):
            raise ModelError(f"{networks['discriminator'][0]} was trained at {made[0]}x{made[1]}, not {size[0]}x{size[1]}")
        config, size = config | read, made
    else:  # It is built and never used; it must only take the size.
        size = size or (128, 128)
        config |= {"discriminator_layers": min(6, min(size).bit_length() - 1)}
    return Found(config, space, size, channels, networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order."""
    step = int(model.info.get("step", 0))
    return {
        f"net_epoch_{step}_id_{letter}.pth": {
            key: t.detach().cpu().contiguous() for key, t in model.recipe.networks[name].state_dict().items()
        }
        for letter, name in (("G", "generator"), ("D", "discriminator"))
        if name not in model.missing
    }


def _network(path: Path, weights: Weights) -> str:
    if "conv1.weight" in weights and "conv2.weight" in weights:
        return "discriminator"
    if "attetion_reg.0.weight" in weights:
        return "generator"
    raise ModelError(
        f"{path} is no GANimation file: a G file has attetion_reg.0.weight, a D file has conv1.weight and conv2.weight; "
        f"this one has {', '.join(list(weights)[:3]) or 'nothing'}, ..."
    )


def _read_discriminator(path: Path, weights: Weights, space: LabelSpace) -> tuple[dict[str, int], tuple[int, int]]:
    """Return its configuration, and the size of the pictures that it was made for."""
    layers = sum(1 for key in weights if re.fullmatch(r"main\.\d+\.weight", key))
    first, head = (_kernel(path, weights, key) for key in ("main.0.weight", "conv2.weight"))
    if head.shape[0] != space.num_labels:
        raise ModelError(f"{path} reads {head.shape[0]} numbers; {space.num_labels} were given: {', '.join(space.names)}")
    made = head.shape[2] << layers, head.shape[3] << layers
    return {"discriminator_conv_dim": first.shape[0], "discriminator_layers": layers}, made


def _kernel(path: Path, weights: Weights, key: str) -> Tensor:
    if key not in weights or weights[key].ndim != 4:
        raise ModelError(f"{path}: {key} is missing or not a kernel; the file is incomplete or not GANimation's")
    return weights[key]
