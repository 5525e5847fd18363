"""DiscoGAN's checkpoints: `model_{gen,dis}_{A,B}-{k}`, where k counts 10,000 iterations.

gen_A makes pictures of A, which dis_A judges, as ours do; only the file's name tells one direction from the other. The
published code saves whole pickled modules, which are refused, since opening one runs what is in it: their state dicts are
taken. Its pictures are BGR: the kernels that meet pictures are turned on the way in and out.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from asterism.inference.published.containers import Weights, read_state_dict, with_counts
from asterism.inference.published.found import Found
from asterism.labels import LabelGroup, LabelSpace
from asterism.recipes.model import Model
from asterism.storage.model_file import ModelError

NAMES = {"gen_A": "generator_a", "gen_B": "generator_b", "dis_A": "discriminator_a", "dis_B": "discriminator_b"}
SIZE = (64, 64)
PLAIN = 8
"""Kernels of a generator without bottleneck."""

Networks = dict[str, tuple[Path, Weights]]


def read(files: Sequence[Path], space: LabelSpace | None, size: tuple[int, int] | None) -> Found:
    """Tell the networks apart by the files' names and infer what they were built with.

    Args:
        files: state dicts of one generator, or two, and any of the discriminators.
        space: the domains A and B, in that order; none: A, B.
        size: 64 x 64, or none.

    Raises:
        ModelError: files that are not DiscoGAN's, or whole modules; another size; or a space that is not of two domains.
    """
    if size not in (None, SIZE):
        raise ModelError(f"DiscoGAN takes pictures of 64x64, not {size[0]}x{size[1]}")
    space = space or LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])
    if space.num_labels != 2 or len(space.domain_names) != 2:
        raise ModelError(f"DiscoGAN translates between two domains: name A and B in that order, not {', '.join(space.names)}")
    networks: Networks = {}
    for path in files:
        letters = _letters(path)
        if NAMES[letters] in networks:
            raise ModelError(f"{networks[NAMES[letters]][0]} and {path} are both a {letters}: give one of them")
        networks[NAMES[letters]] = path, turned(with_counts(_state(path)))
    made = [networks[name] for name in ("generator_a", "generator_b") if name in networks]
    judged = [networks[name] for name in ("discriminator_a", "discriminator_b") if name in networks]
    if not made:
        raise ModelError("there is no generator among the files: give gen_A or gen_B, or both")
    path, weights = made[0]
    kernels = [weights[key] for key in _kernels(path, weights, "main.0.weight")]
    config = {"conv_dim": kernels[0].shape[0], "bottleneck": kernels[4].shape[0] if len(kernels) > PLAIN else 0}
    if judged:
        first, *_ = _kernels(*judged[0], "conv1.weight")
        config["discriminator_conv_dim"] = judged[0][1][first].shape[0]
    return Found(config, space, SIZE, kernels[0].shape[1], networks)


def write(model: Model) -> dict[str, dict[str, Tensor]]:
    """Return state dicts in the published layout: file name -> keys in the published order."""
    number = int(model.info.get("step", 0)) // 10_000
    return {
        f"model_{letters}-{number}.pth": turned(
            {k: t.detach().cpu().contiguous() for k, t in model.recipe.networks[name].state_dict().items()}
        )
        for letters, name in NAMES.items()
        if name not in model.missing
    }


def turned(weights: Weights) -> dict[str, Tensor]:
    """Return the weights for pictures whose three channels come in the opposite order."""
    kernels = [key for key, t in weights.items() if t.ndim == 4]
    ends = {"conv1.weight"} if "conv1.weight" in weights else {kernels[0], kernels[-1]} if kernels else set()
    return {key: t.flip(1).contiguous() if key in ends and t.shape[1] == 3 else t for key, t in weights.items()}


def _state(path: Path) -> dict[str, Tensor]:
    try:
        return read_state_dict(path)
    except ModelError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        raise ModelError(f"{error}. DiscoGAN's code saves whole modules") from error


def _letters(path: Path) -> str:
    """model_gen_A-3 or model_gen_A-3.pth -> gen_A."""
    found = re.search(r"model_((?:gen|dis)_[AB])-\d+(\.\w+)?$", path.name)
    if found is None:
        raise ModelError(
            f"{path} does not say by its name which network it is: expected a name such as model_gen_A-3.pth, with one of "
            f"{', '.join(NAMES)}"
        )
    return found[1]


def _kernels(path: Path, weights: Weights, first: str) -> list[str]:
    kernels = [key for key, t in weights.items() if t.ndim == 4]
    if kernels[:1] != [first] or len(kernels) < 5:
        raise ModelError(
            f"{path} is no such network of DiscoGAN, which begins with {first}; this one has "
            f"{', '.join(list(weights)[:3]) or 'nothing'}, ..."
        )
    return kernels
