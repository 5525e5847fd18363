"""WGAN's published checkpoints: `netG_epoch_{n}.pth` and `netD_epoch_{n}.pth`, each a bare state dict.

Shapes are those of ours; names say what a layer is and its channels: `main.pyramid:512-256:convt.weight`. The published
critic gives real pictures low scores, ours high ones: its last layer changes sign, both ways. The generator without
convolutions (`--mlp_G`) is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from asterism.inference.published.containers import Weights, read_state_dict, with_counts
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

UNLABELLED = LabelSpace([LabelGroup("pictures", (), "binary")])

NAME = re.compile(r"main\.((initial|pyramid|extra-layers-\d+|final):[\d-]+:(convt?|batchnorm))\.(\w+)")


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell generator from critic and infer what they were built with.

    Args:
        files: netG, and netD if it is there, in any order.
        space: labels of the pictures, which the model does not use; none: there are none.
        size: height and width of the pictures of training; none takes what the files tell.

    Raises:
        ModelError: files that are not WGAN's, or that were made for pictures of another size.
    """
    networks: dict[str, tuple[Path, Weights]] = {}
    config: dict[str, int | bool] = {}
    for path, held in ((path, with_counts(read_state_dict(path))) for path in files):
        if not held or not all(NAME.fullmatch(key) for key in held):
            odd = next((key for key in held if not NAME.fullmatch(key)), "nothing")
            raise ModelError(
                f"{path} is not a file of WGAN, whose layers are called main.initial:..., main.pyramid:...; it has {odd}"
            )
        name = "generator" if any(":convt." in key for key in held) else "critic"
        if name in networks:
            raise ModelError(f"{networks[name][0]} and {path} are both a {name}: give one netG file, and its netD file")
        weights = dict(_ours(held, name))
        networks[name] = path, weights
        kernels = [t for key, t in held.items() if key.endswith((":conv.weight", ":convt.weight"))]
        extra = sum("extra-layers" in key and ":conv." in key for key in held)
        side, channels = 2 << (len(kernels) - extra), kernels[-1].shape[1] if name == "generator" else kernels[0].shape[1]
        if size not in (None, (side, side)):
            raise ModelError(f"{path} is for pictures of {side}x{side}, not {size[0]}x{size[1]}")
        config["extra_layers"] = extra
        if name == "generator":
            config |= {"latent_dim": kernels[0].shape[0], "conv_dim": kernels[-1].shape[0]}
            config["generator_norm"] = any("batchnorm" in key for key in held)
        else:
            config["critic_conv_dim"] = kernels[0].shape[0]
    if "generator" not in networks:
        raise ModelError("there is no generator among the files: give the netG file, and the netD file as well if there is one")
    return Found(config, space or UNLABELLED, (side, side), channels, networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order."""
    return {
        f"net{letter}_epoch_0.pth": dict(_theirs(model.recipe.networks[name], name))
        for letter, name in (("G", "generator"), ("D", "critic"))
        if name not in model.missing
    }


def _ours(held: Weights, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under our names: the place of the layer among all, those without weights counted."""
    place, last = -2, ""
    for key, tensor in held.items():
        layer, part, kind, weight = NAME.fullmatch(key).groups()  # type: ignore[union-attr]
        if layer != last:  # A batch norm follows its convolution; between layers and the next convolution is an activation.
            place, last = place + (1 if kind == "batchnorm" else 2), layer
        sign = -1 if name == "critic" and part == "final" else 1
        yield f"main.{place}.{weight}", sign * tensor


def _theirs(network: nn.Module, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under the published names."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    part, extra = "initial", 0
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kind = "convt" if isinstance(layer, nn.ConvTranspose2d) else "conv"
            channels = f"{layer.in_channels}-{layer.out_channels}"
            if layer is convolutions[0]:
                part = "initial"
            elif layer is convolutions[-1]:
                part = "final"
            elif layer.kernel_size == (3, 3):
                part, channels, extra = f"extra-layers-{extra}", f"{layer.out_channels}", extra + 1
            else:
                part = "pyramid"
        else:
            kind, channels = "batchnorm", f"{layer.num_features}"
        sign = -1 if name == "critic" and part == "final" else 1
        for key, tensor in layer.state_dict().items():
            stored = tensor.detach().cpu().contiguous()
            yield f"main.{part}:{channels}:{kind}.{key}", sign * stored if sign < 0 else stored
