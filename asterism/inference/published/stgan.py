"""STGAN's published checkpoints: TensorFlow's `Epoch_(E)_(KofN).ckpt`, `.index` and `.data-00000-of-00001`.

One checkpoint holds both networks, the optimisers' moments (left out) and neither labels nor size; `setting.txt`, beside the
folder of checkpoints, has both. Kernels are stored as (height, width, in, out), those of transposed convolutions as (height,
width, out, in), and dense layers read their maps as (height, width, channel). The files of the PyTorch port (STGAN-pytorch,
`G_N.pth.tar`) hold another network than the paper's and are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from asterism.inference.published.containers import Weights, with_counts
from asterism.inference.published.found import Found
from asterism.inference.published.tensorflow import is_checkpoint, prefix_of, read_checkpoint
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

CELEBA = LabelSpace.from_text(
    "Bald,Bangs,Black_Hair,Blond_Hair,Brown_Hair,Bushy_Eyebrows,Eyeglasses,Male,Mouth_Slightly_Open,Mustache,No_Beard,"
    "Pale_Skin,Young",
    "celeba",
)
"""The labels of the published models, of STGAN and of AttGAN."""

GATES = ("reset_gate", "update_gate", "hidden")
LEAVES = {"weights": "weight", "biases": "bias", "gamma": "weight", "beta": "bias"}
LEAVES |= {"moving_mean": "running_mean", "moving_variance": "running_var"}


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Read a checkpoint of TensorFlow and infer what its networks were built with.

    Args:
        files: of one checkpoint, any of its files.
        space: the labels in the order of training; none: the thirteen of the published models.
        size: height and width of the pictures of training; none: the square that the discriminator was built for.

    Raises:
        ModelError: files that are not STGAN's, labels of another number, or a size that the discriminator was not built for.
    """
    for path in files:
        if not is_checkpoint(path):
            raise ModelError(
                f"{path} is no checkpoint of TensorFlow with its .index file beside it. Files of the PyTorch port, "
                "G_N.pth.tar, hold another network than the paper's: import the authors' checkpoint"
            )
    generator, discriminator = read_networks(files, size)
    if not any(key.startswith("stu.") for key in generator):
        raise ModelError(f"{files[0]} has no selective transfer units: import it as attgan")
    config, space, size, channels = inferred(files[0], generator, discriminator, space, size)
    # Units of levels without a skip were trained for nothing.
    kept = {k: t for k, t in generator.items() if not k.startswith("stu.") or int(k.split(".")[1]) < config["num_skips"]}
    states = [len(generator[f"stu.{i}.upsample.weight"]) for i in range(1, config["num_skips"])]
    outputs = [generator[f"stu.{i}.upsample.bias"].shape[0] for i in range(config["num_skips"])]
    config["num_state_injections"] = sum(wide > out for wide, out in zip(states, outputs, strict=False))
    config["penalty_gradient"] = "published"
    networks = {"generator": (files[0], kept)} | ({"discriminator": (files[0], discriminator)} if discriminator else {})
    return Found(config, space, size, channels, networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Refuse: the published container is TensorFlow's, which asterism reads and does not write.

    Raises:
        ModelError: always.
    """
    raise ModelError("STGAN's published files are TensorFlow's, which asterism does not write: export to onnx or hub instead")


def read_networks(files: Sequence[Path], size: tuple[int, int] | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return generator and discriminator of a checkpoint of the authors' code, in our layout.

    Raises:
        ModelError: files of several checkpoints, or one that holds no such generator.
    """
    prefixes = list(dict.fromkeys(prefix_of(path) for path in files))
    if len(prefixes) > 1:
        raise ModelError(f"{prefixes[0]} and {prefixes[1]} are two checkpoints: give the files of one")
    networks: tuple[dict[str, Tensor], dict[str, Tensor]] = {}, {}
    for name, tensor in read_checkpoint(prefixes[0]).items():
        key = key_of(name)
        if key:
            networks[name.startswith("D/")][key] = tensor
    generator, discriminator = networks
    if "enc_layers.0.layers.0.weight" not in generator:
        raise ModelError(f"{prefixes[0]} holds no generator of STGAN's or AttGAN's code, which has Genc/Conv/weights")
    return with_counts({key: in_our_layout(t) for key, t in generator.items()}), turned(prefixes[0], discriminator, size)


def inferred(
    path: Path, generator: Weights, discriminator: Weights, space: LabelSpace | None, size: tuple[int, int] | None
) -> tuple[dict[str, Any], LabelSpace, tuple[int, int], int]:
    """Return the configuration, labels, size and channels that networks in our layout were built with.

    Raises:
        ModelError: labels of another number, no size where none can be read, or an incomplete file.
    """
    try:
        layers = sum(key.startswith("enc_layers.") and t.ndim == 4 for key, t in generator.items())
        widths = [len(generator[f"enc_layers.{level}.layers.0.weight"]) for level in range(layers)]
        leaving = [generator[f"dec_layers.{place}.layers.0.weight"].shape[1] for place in range(layers)]
        entering = [len(generator[f"dec_layers.{place}.layers.0.weight"]) for place in range(layers)]
    except KeyError as error:
        raise ModelError(f"{path} is incomplete: it lacks {error.args[0]}") from None
    labels = entering[0] - widths[-1]
    space = space or (CELEBA if labels == CELEBA.num_labels else None)
    if space is None or space.num_labels != labels:
        said = f"{space.num_labels} were given" if space else "its file does not name them"
        raise ModelError(f"{path} is told {labels} labels; {said}: name them in the order of training, --labels A,B,C")
    config: dict[str, Any] = {"conv_dim": widths[0], "num_layers": layers, "num_skips": 0, "num_injections": 0}
    for place in range(1, layers):
        beside = entering[place] - leaving[place - 1]
        skip = widths[layers - 1 - place] if beside >= widths[layers - 1 - place] else 0
        config["num_skips"] += skip > 0
        config["num_injections"] += beside - skip > 0
    if discriminator:
        kernels = [t for key, t in discriminator.items() if key.startswith("conv.") and t.ndim == 4]
        hidden = discriminator["fc_adv.0.layers.0.weight"]
        config |= {"discriminator_conv_dim": min(len(t) for t in kernels), "discriminator_layers": len(kernels)}
        config["discriminator_fc_dim"] = len(hidden)
        side = math.isqrt(hidden.shape[1] // max(len(t) for t in kernels)) << len(kernels)
        size = size or (side, side)
    if size is None:
        raise ModelError(f"{path} does not tell the size of the pictures: give it, --image-size 128")
    if not discriminator:  # It is built and never used; it must only take the size.
        config["discriminator_layers"] = layers
    return config, space, size, leaving[-1]


def key_of(name: str) -> str | None:
    """Return our name of a parameter of the authors' code, such as Genc/Conv_1/BatchNorm/gamma; none where there is none."""
    found = re.fullmatch(
        r"(Genc|Gdec|Gstu|D)/([a-zA-Z]\w*?)(?:_(\d+))?/(?:(BatchNorm|InstanceNorm|fully_connected)/)?(\w+)", name
    )
    if found is None or found[5] not in LEAVES:
        return None
    part, layer, place, leaf = found[1], found[2], int(found[3] or 0), LEAVES[found[5]]
    if layer == "flatten_fully_connected":
        return f"{('fc_adv', 'fc_cls')[place // 2]}.{place % 2}.layers.0.{leaf}"
    if part == "Gstu":
        return f"stu.{place // 3}.{GATES[place % 3]}.{leaf}" if layer == "Conv" else f"stu.{place}.upsample.{leaf}"
    module = {"Genc": "enc_layers", "Gdec": "dec_layers", "D": "conv"}[part]
    return f"{module}.{place}.layers.{int('Norm' in (found[4] or ''))}.{leaf}"


def in_our_layout(tensor: Tensor, size: tuple[int, int] = (1, 1)) -> Tensor:
    """Return a kernel, or the weights of a dense layer that reads maps of that height and width, as PyTorch has them."""
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    if tensor.ndim == 2:
        return tensor.unflatten(0, (*size, -1)).permute(3, 2, 0, 1).flatten(1)
    return tensor


def turned(path: Path, weights: Weights, size: tuple[int, int] | None) -> dict[str, Tensor]:
    """Return a discriminator in our layout; the size of its last maps is that of `size`, or a square's."""
    if not weights:
        return {}
    layers = [t for key, t in weights.items() if key.startswith("conv.") and t.ndim == 4]
    pixels = len(weights["fc_adv.0.layers.0.weight"]) // max(t.shape[3] for t in layers)
    side = math.isqrt(pixels)
    small = (size[0] >> len(layers), size[1] >> len(layers)) if size else (side, side)
    if math.prod(small) != pixels:
        raise ModelError(f"{path}: the discriminator was not built for that size; its last maps have {pixels} pixels")
    return {key: in_our_layout(t, small if ".0.layers.0.weight" in key else (1, 1)) for key, t in weights.items()}
