"""RelGAN's published files: Keras' `generator519.h5`, and the PyTorch port's `weights.{step}.pth`.

The Keras files are read as plain arrays (`hdf5.py`); the programs that they also hold are not looked at. A port's file holds
G, D and both optimisers. The port trained with v reversed, source minus target, and with a weight decay; where the optimiser
shows that decay, the kernels that read v are negated, so that v is target minus source in every model here. What is written
are port's files, for which v is target minus source, as the port's own samples have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.inference.published.containers import Weights, read_checkpoint
from asterism.inference.published.found import Found
from asterism.inference.published.hdf5 import read_arrays
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

LICENCE = "CC BY-NC 4.0"
"""Of the authors' repositories, and of the weights that lie in the Keras one."""
SIZE = (256, 256)

KERAS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "mean_weights": "mean_weight"}
KERAS |= {"variance_weights": "var_weight", "moving_mean": "running_mean", "moving_variance": "running_var"}
FIRST, MATCH = "conv_in.0.weight", "convs_cls.0.weight"
"""The kernels that read v."""

Networks = dict[str, tuple[Path, Weights]]


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Read one file of the port, or a Keras G and, if it is there, its D.

    Args:
        files: in any order.
        space: the labels, in the order of training.
        size: height and width of the pictures of training; none: 256 x 256.

    Raises:
        ModelError: files that are not RelGAN's, two of one network, or labels of another number.
    """
    if space is None:
        raise ModelError("RelGAN's files do not name their labels: give them in the order of training, --labels A,B,C")
    networks: Networks = {}
    for path in files:
        for name, weights in (_of_keras(path) if path.suffix == ".h5" else _of_port(path)).items():
            if name in networks:
                raise ModelError(f"{networks[name][0]} and {path} both hold a {name}: give one file of each")
            networks[name] = path, weights
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give generator519.h5, or weights.{step}.pth of the port")
    path, weights = networks["generator"]
    channels = _get(path, weights, "conv_out.0.weight").shape[0]
    if (given := _get(path, weights, FIRST).shape[1] - channels) != space.num_labels:
        raise ModelError(f"{path} reads {given} labels; {space.num_labels} were given: {', '.join(space.names)}")
    config: dict[str, Any] = {
        "conv_dim": weights[FIRST].shape[0],
        "num_blocks": sum(1 for key in weights if re.fullmatch(r"resb\.\d+\.f\.0\.weight", key)),
        "port": path.suffix != ".h5",
        "batch_statistics": path.suffix != ".h5",
        "discriminator_widths": [64, 128],  # Where there is none, it is built and never used.
    }
    if "discriminator" in networks:
        path, weights = networks["discriminator"]
        kernels = [t for key, t in weights.items() if re.fullmatch(r"convs\.\d+\.weight", key)]
        config["discriminator_widths"] = [len(kernel) for kernel in kernels]
        config["interpolation_channels"] = _get(path, weights, "conv_int.weight").shape[0]
    return Found(config, space, size or SIZE, channels, networks, LICENCE if path.suffix == ".h5" else "")


def write(model: Model) -> dict[str, dict[str, Any]]:
    """Return the file of the port that holds a model: file name -> network -> keys in the published order."""
    held = {
        letter: {k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()}
        for letter, name in (("G", "generator"), ("D", "discriminator"))
        if name not in model.missing
    }
    return {f"weights.{int(model.info.get('step', 0))}.pth": held}


def remarks(model: Model) -> list[str]:
    """Say what the user of a model without class head must state."""
    return ["published files have no class head: state a picture's labels that a target changes (--labels, labels=)"]


def from_keras(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's parameters by our names, from those of the Keras layers, `layer/name`."""
    plain = sorted({int(m[1]) for key in arrays if (m := re.match(r"conv2d_(\d+)/", key))})  # Numbered as they were made.
    generator = any(key.startswith("conv_in_conv/") for key in arrays)
    named = {}
    for key, array in arrays.items():
        layer, _, name = key.partition("/")
        if m := re.fullmatch(r"conv2d_(\d+)", layer):
            place = plain.index(int(m[1]))
            heads = ("conv_adv", "conv_int", "convs_cls.0", "convs_cls.2")
            ours = f"resb.{place // 2}.f.{3 * (place % 2)}" if generator else heads[place] if place < len(heads) else layer
        elif m := re.fullmatch(r"block(\d+)_([01])", layer):
            ours = f"resb.{int(m[1]) - 1}.f.{1 + 3 * int(m[2])}"
        elif m := re.fullmatch(r"conv(\d+)", layer):
            ours = f"convs.{2 * int(m[1]) - 2}"
        else:
            ours = re.sub(r"_(?:de)?conv2?$", ".0", re.sub(r"_norm$", ".1", layer))
        named[f"{ours}.{KERAS.get(name, name)}"] = _turned(array, name)
    return named


def _turned(array: Tensor, name: str) -> Tensor:
    if name == "kernel" and array.ndim == 4:
        return array.permute(3, 2, 0, 1).contiguous()
    if name in ("gamma", "beta"):
        return array.reshape(1, -1, 1, 1)
    return array.reshape(1, -1, 1) if name in ("moving_mean", "moving_variance") else array


def _of_keras(path: Path) -> dict[str, Weights]:
    """model_weights/<layer>/<layer>/<name>:0 -> <layer>/<name>, and those in our names."""
    arrays = {"/".join(key.split(":")[0].split("/")[-2:]): t for key, t in read_arrays(path).items() if "optimizer" not in key}
    name = "generator" if "conv_in_conv/kernel" in arrays else "discriminator" if "conv1/kernel" in arrays else ""
    if not name:
        raise ModelError(
            f"{path} is no file of RelGAN: a generator has the layer conv_in_conv, a discriminator conv1; this one has "
            f"{', '.join(list(arrays)[:3]) or 'nothing'}, ..."
        )
    weights = from_keras(arrays)
    order = [key for key in weights if key.startswith("convs.")]  # As ours, whose layers count from the picture on.
    rest = [key for key in weights if key not in order]
    return {name: {key: weights[key] for key in sorted(order, key=lambda key: int(key.split(".")[1])) + rest}}


def _of_port(path: Path) -> dict[str, Weights]:
    held = read_checkpoint(path)
    if not isinstance(held, dict) or not isinstance(held.get("G"), Mapping):
        what = ", ".join(map(str, list(held)[:4])) if isinstance(held, dict) else type(held).__name__
        raise ModelError(f"{path} is no file of RelGAN's port, which holds G, D, optimG and optimD; this one has {what}")
    reversed_v = any(group.get("weight_decay") for group in held.get("optimG", {}).get("param_groups", []))
    found: dict[str, Weights] = {}
    for letter, name, reads in (("G", "generator", FIRST), ("D", "discriminator", MATCH)):
        if letter in held:
            weights = {str(key).removeprefix("module."): t for key, t in held[letter].items()}
            found[name] = weights
            if reversed_v:
                count = _get(path, weights, reads).shape[1] - _others(path, weights, name)
                weights[reads] = torch.cat([weights[reads][:, :-count], -weights[reads][:, -count:]], 1)
    return found


def _others(path: Path, weights: Weights, name: str) -> int:
    """Return how many channels come before v: those of the picture, or of two pictures' features."""
    if name == "generator":
        return _get(path, weights, "conv_out.0.weight").shape[0]
    return 2 * _get(path, weights, "conv_adv.weight").shape[1]


def _get(path: Path, weights: Weights, key: str) -> Tensor:
    if key not in weights or weights[key].ndim != 4:
        raise ModelError(f"{path}: {key} is missing or not a kernel; the file is incomplete or not RelGAN's")
    return weights[key]
