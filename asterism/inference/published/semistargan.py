"""SemiStarGAN's published checkpoints: TensorFlow's, `stargan.model-{step}.index` and its data file, which hold both networks.

Kernels are [height, width, in, out] there, of transposed convolutions [height, width, out, in]: both become ours by one order
of the axes. Adam's moments and its counts are passed over. Which of the Y model's two depths it is, the names tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from asterism.inference.published.containers import Weights, with_counts
from asterism.inference.published.found import Found
from asterism.inference.published.tensorflow import prefix_of, read_checkpoint
from asterism.labels import LabelSpace
from asterism.recipes.base import Recipe
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

PREFIXES = {"generator": "gen/", "discriminator": "disc/"}
STATISTICS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Read a checkpoint and infer what its networks were built with.

    Args:
        files: of one checkpoint: its index, or its data as well.
        space: the labels, in the order of training.
        size: height and width of the pictures of training.

    Raises:
        ModelError: files of several checkpoints or of something else, or labels of another number.
    """
    if space is None or size is None:
        raise ModelError("SemiStarGAN's files contain neither labels nor size: give both, --labels A,B,C --image-size 128")
    prefixes = list(dict.fromkeys(prefix_of(path) for path in files))
    if len(prefixes) > 1:
        raise ModelError(f"{prefixes[0]} and {prefixes[1]} are two checkpoints; give the files of one")
    weights = read_checkpoint(prefixes[0])
    networks = networks_of(weights)
    needed = ("main.0.weight", "main.3.weight"), ("shared.0.weight", "head.weight")
    for (name, found), keys in zip(networks.items(), needed, strict=True):
        if not all(key in found for key in keys):
            raise ModelError(f"{prefixes[0]} is not SemiStarGAN's: no {name}; it holds {', '.join(list(weights)[:3])}, ...")
    generator, discriminator = networks.values()
    last = next(reversed(generator.values()))
    code, channels = generator["main.0.weight"].shape[1] - last.shape[0], last.shape[0]
    if (code, len(discriminator["head.weight"])) != (space.code_size, space.num_labels):
        raise ModelError(
            f"{prefixes[0]} knows {code} labels; {space.code_size} were given: {', '.join(space.names)}. Name all the labels "
            "that it was trained on, in that order"
        )
    config = {
        "conv_dim": len(generator["main.0.weight"]),
        "num_blocks": sum(key.endswith("main.0.weight") for key in generator) - 1,
        "discriminator_conv_dim": len(discriminator["shared.0.weight"]),
        "deep": "patches.8.weight" in discriminator,
    }
    return Found(config, space, size, channels, {name: (prefixes[0], found) for name, found in networks.items()})


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Refuse: TensorFlow's checkpoints are read here and not written.

    Raises:
        ModelError: always.
    """
    raise ModelError("SemiStarGAN's published files are TensorFlow checkpoints, which asterism reads and does not write")


def networks_of(weights: Weights) -> dict[str, dict[str, Tensor]]:
    """Return both networks' parameters in our layout, from TensorFlow's tensors by name."""
    blocks = sum(name.startswith("gen/g_r") and name.endswith("_c1/Conv/weights") for name in weights)
    halvings = sum(name.startswith("disc/dis_conv") for name in weights)
    result = {}
    for network, names in (("generator", _generator(blocks)), ("discriminator", _discriminator(halvings))):
        held = {key: weights[PREFIXES[network] + name] for key, name in names.items() if PREFIXES[network] + name in weights}
        result[network] = with_counts({key: t.permute(3, 2, 0, 1) if t.ndim == 4 else t for key, t in held.items()})
    return result


def names_of(recipe: Recipe, network: str) -> dict[str, str]:
    """Return TensorFlow's name, without the network's prefix, of each of a network's parameters."""
    config = recipe.config
    return _generator(config.num_blocks) if network == "generator" else _discriminator(4 if config.deep else 2)


def _generator(blocks: int) -> dict[str, str]:
    down = [(3 * i, f"gen_ds_conv{i + 1}/Conv", f"in1_{i + 1}") for i in range(3)]
    up = [(9 + blocks + 3 * i, f"g_us_dconv{i + 1}/Conv2d_transpose", f"g_d{i + 1}_in") for i in range(2)]
    names: dict[str, str] = {}
    for place, kernel, norm in down:
        names |= _normed(f"main.{place}", f"main.{place + 1}", kernel, norm, ("scale", "offset"))
    for block in range(blocks):
        for half in range(2):
            at, of = f"main.{9 + block}.main", f"g_r{block + 1}"
            layers = f"{at}.{3 * half}", f"{at}.{3 * half + 1}"
            names |= _normed(*layers, f"{of}_c{half + 1}/Conv", f"{of}_in{half + 1}", ("scale", "offset"))
    for place, kernel, norm in up:
        names |= _normed(f"main.{place}", f"main.{place + 1}", kernel, norm, ("scale", "offset"))
    return names | {f"main.{15 + blocks}.weight": "g_pred_c/Conv/weights"}


def _discriminator(halvings: int) -> dict[str, str]:
    names = {f"shared.{2 * i}.weight": f"hid_conv{i + 1}/Conv/weights" for i in range(2)}
    names |= {f"patches.{2 * i}.weight": f"dis_conv{i + 3}/Conv/weights" for i in range(halvings)}
    names[f"patches.{2 * halvings}.weight"] = "disc_conv7_patch/Conv/weights"
    for number in range(6):
        layers = [f"classes.{number // 2}.{number % 2}.{i}" for i in range(2)]
        names |= _normed(layers[0], layers[1], f"cls_conv{number + 3}/Conv", f"cbn{number + 1}", ("gamma", "beta"))
        names |= {f"{layers[1]}.{ours}": f"cbn{number + 1}/{theirs}" for ours, theirs in STATISTICS.items()}
    return names | {"head.weight": "cls_conv9_aux/Conv/weights"}


def _normed(layer: str, norm: str, kernel: str, theirs: str, parts: tuple[str, str]) -> dict[str, str]:
    """Return the names of a convolution and of the gain and bias of its norm."""
    return {
        f"{layer}.weight": f"{kernel}/weights",
        f"{norm}.weight": f"{theirs}/{parts[0]}",
        f"{norm}.bias": f"{theirs}/{parts[1]}",
    }
