"""pix2pixHD's published checkpoints: `{epoch}_net_G.pth`, `..._D.pth`, `..._E.pth`, each a bare state dict.

G holds the global generator, or that without its last layer and the enhancers (`model1_1`, `model1_2`, ...). Files of PyTorch
0.3 also keep running statistics of the instance norms, which were never used: they are dropped. A D that was trained without
feature matching holds the same networks in other keys. `features_clustered_010.npy`, the centres of features, is a pickled
dict and not read: centres are learned here, by training that starts from the import.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.pictures import PictureFormat
from asterism.inference.published.containers import Weights, read_state_dict
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SIZE = (512, 1024)
"""Of the published training without enhancers; each of them doubles it."""

CENTRES = 10
WHAT = {"generator": "G", "discriminator": "D", "encoder": "E"}


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell the networks apart by their keys and infer what they were built with.

    Of other sources than RGB pictures, all channels but one are taken for classes and the last for the edges of instances, as
    published; of a generator of as many channels in as out, sources and translations are pictures of one kind.

    Args:
        files: G; E where it sees features; D if it is there. In any order.
        space: the domains, of sources and of translations, in that order; none: A, B.
        size: height and width of the pictures of training; none: the published ones.

    Raises:
        ModelError: files that are not pix2pixHD's, or that do not belong together; a space that is not of two domains.
    """
    space = space or LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
    if space.num_labels != 2 or len(space.domain_names) != 2:
        raise ModelError(
            "pix2pixHD translates from one domain to another: name the two, sources first, not " + ", ".join(space.names)
        )
    found: dict[str, tuple[Path, dict[str, Tensor]]] = {}
    for path in files:
        if path.suffix == ".npy":
            raise ModelError(
                f"{path} is a pickled dict of centres of features, which may run code when it is opened: leave it out; "
                "training that starts from the import (train --init) learns centres"
            )
        held = read_state_dict(path)
        weights = _with_layers({key: t for key, t in held.items() if not _is_buffer(key, held)})
        name = _network(path, weights)
        if name in found:
            raise ModelError(f"{found[name][0]} and {path} are both a {name}: give one file of each network")
        found[name] = path, weights
    if "generator" not in found:
        raise ModelError("there is no generator among the files: give the G file, and those of D and E if there are any")
    path, weights = found.pop("generator")
    config, seen, made, end = _read_generator(path, weights)
    if "encoder" in found:
        config |= _read_encoder(*found["encoder"], made)
    features = config.get("features", 0)
    if "discriminator" in found:
        config |= _read_discriminator(found["discriminator"][1])
        judged = found["discriminator"][1]["scale0_layer0.0.weight"].shape[1]
        if judged != seen - features + made:
            why = "these files do not belong together" if features else "a generator that sees features needs its E file too"
            raise ModelError(
                f"{path} sees {seen} channels, {features} of them features, and makes {made}, so that D judges "
                f"{seen - features + made}; {found['discriminator'][0]} judges {judged}: {why}"
            )
    planes, enhancers = seen - features, config["enhancers"]
    height, width = size or (SIZE[0] << enhancers, SIZE[1] << enhancers)
    source = None
    if planes != made:
        source = PictureFormat(2, height, width, 0.0, float(planes - 2), 16, classes=planes - 1)
    networks: dict[str, tuple[Path, Weights]] = dict(found)
    own = {key: t for key, t in weights.items() if not re.match(r"model\d", key)}
    if enhancers:  # The global generator's last layer, which enhanced pictures do not use, is in no file.
        own |= {f"model.{end}.weight": torch.zeros(made, config["conv_dim"], 7, 7), f"model.{end}.bias": torch.zeros(made)}
        networks["enhancer"] = path, {key: t for key, t in weights.items() if key not in own}
    networks["generator"] = path, own
    if features:
        config["centres"] = CENTRES
        networks["centres"] = path, {"at": torch.zeros(max(1, source.classes if source else 1), CENTRES, features)}
    return Found(config, space, (height, width), made, networks, source=source)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return the published files of a model: file name -> state dict, keys in the published order.

    A model of the first phase is a global generator, with the discriminators that it met.
    """
    step, recipe = int(model.info.get("step", 0)), model.recipe
    parts = {name: network.state_dict() for name, network in recipe.networks.items() if name not in model.missing}
    generator, judges = dict(parts["generator"]), recipe.config.scales
    if recipe.phase == "global":
        judges = max(1, judges - recipe.config.enhancers)
    elif "enhancer" in parts:
        last = list(generator)[-2:]
        generator = {k: t for k, t in generator.items() if k not in last} | parts["enhancer"]
    files = {"G": generator}
    if "discriminator" in parts:
        kept = {k: t for k, t in parts["discriminator"].items() if int(re.findall(r"\d+", k)[0]) < judges}
        files["D"] = kept
    if "encoder" in parts:
        files["E"] = parts["encoder"]
    return {
        f"{step}_net_{letter}.pth": {k: t.detach().cpu().contiguous() for k, t in weights.items()}
        for letter, weights in files.items()
    }


def remarks(model: Model) -> list[str]:
    """Say what the sources are taken for, and that an import has no centres of features."""
    found, maps = [], model.picture.source
    if maps is not None:
        found.append(f"the sources are taken for label maps of {maps.classes} classes with maps of instances")
    if model.recipe.config.features and not any(t.any() for t in model.recipe.networks["centres"].parameters()):
        found.append(
            "features have no centres yet, so that all styles are alike: train --init RUN --recipe.lr 0 learns them, and "
            "nothing else"
        )
    return found


def _network(path: Path, weights: Weights) -> str:
    if _is_kernel(weights, "scale0_layer0.0.weight"):
        return "discriminator"
    if _is_kernel(weights, "model.1.weight"):
        return "generator" if any("conv_block" in key for key in weights) else "encoder"
    raise ModelError(
        f"{path} is no file of pix2pixHD: G and E have a kernel model.1.weight, D scale0_layer0.0.weight or layer0.0.weight; "
        f"this one has {', '.join(list(weights)[:3]) or 'nothing'}, ..."
    )


def _read_generator(path: Path, weights: Weights) -> tuple[dict[str, int], int, int, int]:
    """Return the configuration, the channels that come in and go out, and the index of the global generator's last layer."""
    blocks = sorted({int(m[1]) for key in weights if (m := re.match(r"model\.(\d+)\.conv_block\.", key))})
    downs, first = (blocks[0] - 4) // 3, weights["model.1.weight"]
    end = 5 + 6 * downs + len(blocks)
    enhancers = len({m[1] for key in weights if (m := re.match(r"model(\d+)_1\.", key))})
    own = len({m[1] for key in weights if (m := re.match(r"model1_2\.(\d+)\.conv_block\.", key))})
    last = f"model{enhancers}_2.{own + 4}.weight" if enhancers else f"model.{end}.weight"
    if not _is_kernel(weights, last):
        raise ModelError(f"{path} lacks the kernel {last}, the last of the generator that its other keys tell of")
    config = {"conv_dim": first.shape[0], "num_downs": downs, "num_blocks": len(blocks), "enhancers": enhancers}
    config |= {"global_steps": 0, "enhancer_steps": 0}  # What is published has these behind it.
    if enhancers:
        config["enhancer_blocks"] = own
    return config, first.shape[1], weights[last].shape[0], end


def _read_encoder(path: Path, weights: Weights, made: int) -> dict[str, int]:
    first, *_, last = (t for t in weights.values() if t.ndim == 4)
    if first.shape[1] != made:
        raise ModelError(f"{path} encodes pictures of {first.shape[1]} channels; the generator makes {made}")
    kernels = sum(t.ndim == 4 for t in weights.values())
    return {"features": last.shape[0], "encoder_conv_dim": first.shape[0], "encoder_downs": (kernels - 2) // 2}


def _read_discriminator(weights: Weights) -> dict[str, int]:
    named = [re.findall(r"\d+", key)[:2] for key in weights]
    return {
        "discriminator_conv_dim": weights["scale0_layer0.0.weight"].shape[0],
        "discriminator_layers": max(int(layer) for _, layer in named) - 1,
        "scales": 1 + max(int(scale) for scale, _ in named),
    }


def _with_layers(weights: Weights) -> dict[str, Tensor]:
    """Name the parameters of a discriminator without feature matching, `layer<S>.<place>`, as those of one with it."""
    if not _is_kernel(weights, "layer0.0.weight"):
        return dict(weights)
    named = {}
    for key, t in weights.items():
        scale, place, part = key.removeprefix("layer").split(".")  # Places 0, 2, 5, 8, ...: each with a norm and a ReLU.
        named[f"scale{scale}_layer{(int(place) + 1) // 3}.0.{part}"] = t
    return named


def _is_kernel(weights: Weights, key: str) -> bool:
    return key in weights and weights[key].ndim == 4


def _is_buffer(key: str, weights: Weights) -> bool:
    """Say whether it is a running statistic of an instance norm; batch norms, which have weights too, are refused later."""
    layer, _, name = key.rpartition(".")
    return name in BUFFERS and f"{layer}.weight" not in weights
