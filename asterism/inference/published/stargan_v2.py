"""StarGAN v2's published checkpoints: `{step}_nets_ema.ckpt` and `{step}_nets.ckpt`, each a dict of state dicts by network.

Parameters have the names and shapes of ours. The high-pass generator's files also hold what nothing uses: its decoder's
1x1 convolutions, dropped on the way in and written as zeros on the way out, and the constant filter, which tells the
divisor where it is there (a released file lacks it). Architecture, size and number of domains are read off the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.inference.published.containers import Weights, read_state_dicts
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.fan import chosen_weights
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

LICENCE = "CC BY-NC 4.0"
"""Of the authors' weights."""

EXTRAS = ("fan",)
"""Networks that an import keeps on request."""

TRANSLATING = ("generator", "mapping_network", "style_encoder")
FILTER = "hpf.filter"
SKIPS = (32, 64, 128)

Networks = dict[str, tuple[Path, Weights]]


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None, keep: Sequence[str] = ()) -> Found:
    """Infer what the networks were built with, and bring their parameters into our layout.

    Args:
        files: nets_ema or nets; or both: then the averages make the translations and the discriminator comes from nets.
        space: the domains in the order of training; none: domain_0, domain_1, ...
        size: of the pictures of training, only to be checked.
        keep: of `EXTRAS`; fan is the landmark network, for the masks of faces.

    Raises:
        ModelError: files that are not StarGAN v2's, that contradict one another, or that do not fit `space` or `size`.
    """
    networks = _collect(files)
    config, side, count = _architecture(networks)
    path = networks["generator"][0]
    if size not in (None, (side, side)):
        raise ModelError(f"{path} was trained at {side}x{side}, not {size[0]}x{size[1]}")
    if space is None:
        space = LabelSpace([LabelGroup("pictures", tuple(f"domain_{k}" for k in range(count)), "one_of")])
    if [len(choice) for choice in space.alternatives] != [count] or space.num_labels != count:
        raise ModelError(f"{path} was trained on {count} domains; name as many, in that order: --domains A,B,...")
    if "fan" in keep and "fan" not in networks:
        raise ModelError(f"{path} holds no landmark network (fan); leave out --keep fan, or give the file that holds it")
    if "fan" in keep:
        if not config["high_pass"]:
            raise ModelError(f"{path} has no high-pass skips, which alone use the landmark network: leave out --keep fan")
        config["masks"] = "face"
        where, weights = networks["fan"]
        try:
            networks["fan"] = where, chosen_weights(weights)
        except ValueError as error:
            raise ModelError(f"{where}, fan: {error}") from error
    else:
        networks.pop("fan", None)
    channels = networks["generator"][1]["from_rgb.weight"].shape[1]
    return Found(config, space, (side, side), channels, networks, LICENCE)


def remarks(model: Model) -> list[str]:
    """Return what the user of an imported model should know."""
    if model.config.high_pass and model.config.masks == "ones":
        return ["all masks are ones, so pictures differ slightly from the published ones; --keep fan imports the mask network"]
    return []


def write(model: Model) -> dict[str, dict[str, dict[str, Tensor]]]:
    """Return the published files of a model: file name -> network -> state dict, keys in the published order.

    nets_ema is what the published code translates with; nets, with the discriminator where the model has it, holds the same
    averaged weights beside it.
    """
    step = int(model.info.get("step", 0))
    states = {}
    for name in (*TRANSLATING, "discriminator", "fan"):
        if name in model.recipe.networks and name not in model.missing:
            states[name] = {k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()}
    if model.config.high_pass:
        states["generator"] = _with_unused(states["generator"], model.config.high_pass)
    files = {f"{step:06d}_nets_ema.ckpt": {name: state for name, state in states.items() if name != "discriminator"}}
    if "discriminator" in states:
        files[f"{step:06d}_nets.ckpt"] = states
    return files


def _collect(files: Sequence[Path]) -> Networks:
    """Return the networks of the files; of two files, translation comes from the one without a discriminator."""
    networks: Networks = {}
    opened = {path: read_state_dicts(path) for path in files}
    if len(opened) > 2 or sum("discriminator" in held for held in opened.values()) > 1:
        raise ModelError("give one nets_ema or nets file, or one of each")
    if len(opened) == 2 and not any("discriminator" in held for held in opened.values()):
        raise ModelError(f"{' and '.join(map(str, opened))} hold the same networks: give one of them")
    for path, held in sorted(opened.items(), key=lambda item: "discriminator" not in item[1]):
        strange = [name for name in held if name not in (*TRANSLATING, "discriminator", "fan")]
        lacking = [name for name in TRANSLATING if name not in held]
        if strange or lacking or "from_rgb.weight" not in held["generator"]:
            raise ModelError(
                f"{path} is not a nets or nets_ema file of StarGAN v2, which holds {', '.join(TRANSLATING)}, perhaps "
                f"discriminator and fan; this one holds {', '.join(held)}"
            )
        networks |= {name: (path, weights) for name, weights in held.items()}  # The averages, read last, win.
    return networks


def _architecture(networks: Networks) -> tuple[dict[str, object], int, int]:
    """Return the configuration, the side of the pictures and the number of domains; drop what nothing uses."""
    (path, generator), (_, mapping), (style_path, style) = (networks[name] for name in TRANSLATING)
    blocks = _count(style, r"shared\.\d+\.conv1\.weight")
    side = 2 ** (blocks + 2)
    width = _get(path, generator, "from_rgb.weight", 4).shape[0]
    last = _get(style_path, style, f"shared.{blocks + 2}.weight", 4)
    heads = {name: _heads(name, networks[name][1], blocks) for name in networks if name not in ("generator", "fan")}
    if len(set(heads.values())) > 1:
        raise ModelError(f"{path}: the networks disagree on the number of domains: {heads}")
    deep = _count(generator, r"encode\.\d+\.conv1\.weight")
    plain = blocks - 2 + 2  # log2(size) - 4 halvings and 2 more blocks; one more halving with high-pass skips.
    if deep not in (plain, plain + 1):
        raise ModelError(f"{path}: {deep} encoder blocks do not belong to {side}x{side} pictures, as its style encoder says")
    first = _get(path, mapping, "shared.0.weight", 2)
    config: dict[str, object] = {
        "capacity": width * side,
        "max_width": last.shape[0],
        "style_dim": _get(path, mapping, "unshared.0.6.weight", 2).shape[0],
        "latent_dim": first.shape[1],
        "mapping_width": first.shape[0],
        "high_pass": _high_pass(path, generator) if deep > plain else 0.0,
    }
    if deep > plain:
        config["skip_sizes"] = tuple(side_ for side_ in SKIPS if side_ <= side)
        unused = re.compile(r"decode\.\d+\.conv1x1\.weight")
        kept = {k: t for k, t in generator.items() if k != FILTER and not unused.fullmatch(k)}
        networks["generator"] = path, kept
    return config, side, next(iter(heads.values()))


def _high_pass(path: Path, generator: Weights) -> float:
    """Return the divisor that the filter holds; 1, as published, where a file lacks the filter."""
    if FILTER not in generator:
        return 1.0
    held = generator[FILTER].float()
    divisor = 8.0 / float(held[1, 1]) if held.shape == (3, 3) and held[1, 1] > 0 else 0.0
    expected = torch.full((3, 3), -1.0)
    expected[1, 1] = 8.0
    if not divisor or not torch.allclose(held, expected / divisor, rtol=1e-4):
        raise ModelError(f"{path}: generator {FILTER} is not a high-pass filter (8 in the middle, -1 around, over one divisor)")
    return round(divisor, 4)


def _heads(name: str, weights: Weights, blocks: int) -> int:
    if name == "discriminator":
        return int(weights[key].shape[0]) if (key := f"main.{blocks + 4}.weight") in weights else 0
    return len({m[1] for key in weights if (m := re.match(r"unshared\.(\d+)\.", key))})


def _count(weights: Weights, pattern: str) -> int:
    return sum(1 for key in weights if re.fullmatch(pattern, key))


def _get(path: Path, weights: Weights, key: str, dimensions: int) -> Tensor:
    if key not in weights or weights[key].ndim != dimensions:
        raise ModelError(f"{path}: {key} is missing or has another type; the file is incomplete or not StarGAN v2's")
    return weights[key]


def _with_unused(generator: Mapping[str, Tensor], high_pass: float) -> dict[str, Tensor]:
    """Add what the published high-pass generator holds and never uses, where it stands there."""
    result: dict[str, Tensor] = {}
    for key, tensor in generator.items():
        result[key] = tensor
        if (m := re.fullmatch(r"(decode\.\d+)\.norm2\.fc\.bias", key)) is not None:
            outputs, inputs = generator[f"{m[1]}.conv1.weight"].shape[:2]
            if inputs != outputs:
                result[f"{m[1]}.conv1x1.weight"] = torch.zeros(outputs, inputs, 1, 1)
    kernel = torch.full((3, 3), -1.0)
    kernel[1, 1] = 8.0
    return result | {FILTER: kernel / high_pass}
