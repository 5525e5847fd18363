"""StarGAN's published checkpoints: `{step}-G.ckpt` and `{step}-D.ckpt`, each a bare state dict.

Their parameters have the names and shapes of ours. G also keeps running statistics of its instance norms, which were
gathered and never meant to be used: in `eval` mode they spoil the pictures. They are dropped on the way in and written as
PyTorch's initial values on the way out. Files written by PyTorch 0.3 lack `num_batches_tracked`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.inference.published.containers import Weights, read_state_dict
from asterism.inference.published.found import Found
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell generator from discriminator and infer what they were built with.

    Args:
        files: one or two bare state dicts, in any order.
        space: the labels, in the order of training.
        size: height and width of the pictures of training.

    Raises:
        ModelError: files that are not StarGAN's, labels of another number, or a size that the class head was not made for.
    """
    if space is None or size is None:
        raise ModelError("StarGAN's files contain neither labels nor size: give both, --labels A,B,C --image-size 128")
    networks: dict[str, tuple[Path, Weights]] = {}
    for path, weights in ((path, read_state_dict(path)) for path in files):
        name = _network(path, weights)
        if name in networks:
            raise ModelError(
                f"{networks[name][0]} and {path} are both a {name}: give one G file and, if there is one, its D file"
            )
        networks[name] = path, {key: t for key, t in weights.items() if not _is_buffer(key, weights)}
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give the G file, and the D file as well if there is one")
    config, channels = _read_generator(*networks["generator"], space)
    if "discriminator" in networks:
        config |= _read_discriminator(*networks["discriminator"], space, size)
    else:  # It is built and never used; it must only take the size.
        config |= {"discriminator_layers": min(6, min(size).bit_length() - 1)}
    return Found(config, space, size, channels, networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order."""
    step = int(model.info.get("step", 0))
    files = {}
    for letter, name in (("G", "generator"), ("D", "discriminator")):
        if name not in model.missing:
            weights = {key: t.detach().cpu().contiguous() for key, t in model.recipe.networks[name].state_dict().items()}
            files[f"{step}-{letter}.ckpt"] = _with_buffers(weights) if name == "generator" else weights
    return files


def _network(path: Path, weights: Weights) -> str:
    if "conv1.weight" in weights or "conv2.weight" in weights:
        return "discriminator"
    if "main.0.weight" in weights and weights["main.0.weight"].shape[2:] == (7, 7):
        return "generator"
    raise ModelError(
        f"{path} is no StarGAN file: a G file has main.0.weight [width, channels + code, 7, 7], a D file has conv1.weight "
        f"and conv2.weight; this one has {', '.join(list(weights)[:3]) or 'nothing'}, ..."
    )


def _read_generator(path: Path, weights: Weights, space: LabelSpace) -> tuple[dict[str, int], int]:
    blocks = sum(1 for key in weights if re.fullmatch(r"main\.\d+\.main\.0\.weight", key))
    first, last = weights["main.0.weight"], _get(path, weights, f"main.{15 + blocks}.weight")
    channels = last.shape[0]
    code = first.shape[1] - channels
    if code != space.code_size:
        mask = f" and {space.num_datasets} mask bits" if space.num_datasets > 1 else ""
        raise ModelError(
            f"{path} takes a code of {code} values; the labels given make {space.code_size} ({space.num_labels} labels{mask}): "
            f"name all the labels that it was trained on, in that order"
        )
    return {"conv_dim": first.shape[0], "num_blocks": blocks}, channels


def _read_discriminator(path: Path, weights: Weights, space: LabelSpace, size: tuple[int, int]) -> dict[str, int]:
    layers = sum(1 for key in weights if re.fullmatch(r"main\.\d+\.weight", key))
    head = _get(path, weights, "conv2.weight")
    if head.shape[0] != space.num_labels:
        raise ModelError(f"{path} classifies {head.shape[0]} labels; {space.num_labels} were given: {', '.join(space.names)}")
    kernel = tuple(head.shape[2:])
    if kernel != (size[0] >> layers, size[1] >> layers):
        trained = f"{kernel[0] << layers}x{kernel[1] << layers}"
        raise ModelError(
            f"{path} was trained at {trained} (its class head is {kernel[0]}x{kernel[1]}), not {size[0]}x{size[1]}"
        )
    return {"discriminator_conv_dim": _get(path, weights, "main.0.weight").shape[0], "discriminator_layers": layers}


def _get(path: Path, weights: Weights, key: str) -> Tensor:
    if key not in weights or weights[key].ndim != 4:
        raise ModelError(f"{path}: {key} is missing or not a kernel; the file is incomplete or not StarGAN's")
    return weights[key]


def _is_buffer(key: str, weights: Weights) -> bool:
    layer, _, name = key.rpartition(".")
    return name in BUFFERS and f"{layer}.weight" in weights


def _with_buffers(weights: Weights) -> dict[str, Tensor]:
    """Add the running statistics behind every norm; in G they are the layers with a bias."""
    result = {}
    for key, tensor in weights.items():
        result[key] = tensor
        layer, _, name = key.rpartition(".")
        if name == "bias":
            values = torch.zeros_like(tensor), torch.ones_like(tensor), torch.tensor(0)
            result |= {f"{layer}.{buffer}": value for buffer, value in zip(BUFFERS, values, strict=True)}
    return result
