"""Codes of a latent by name, for recipes whose codes came to mean something: `digit=3,tilt=0.5`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from asterism.config import ConfigError, closest
from asterism.inference.placed import PlacedModel
from asterism.networks.codes import Code

Chosen = Sequence[tuple[Code, float]]
"""Codes and the value that each is to have."""

FURTHEST = 6.0
"""Of a standard normal number, what stands for infinity: its error function is 1 in float32."""

STEPS = 9
"""Values of a number in a traversal, from -1 to 1."""


def chosen_codes(placed: PlacedModel, codes: str | Mapping[str, float] | None) -> list[tuple[Code, float]]:
    """Return the codes that a caller chooses, in words or as {"digit": 3, "tilt": 0.5}; the others are left to the seed.

    Raises:
        ConfigError: a model without codes, an unknown code, or a value that the code does not have.
    """
    if codes is None:
        return []
    pairs = [part.partition("=")[::2] for part in codes.split(",")] if isinstance(codes, str) else list(codes.items())
    chosen = []
    for name, words in pairs:
        code = code_named(placed, name.strip())
        try:
            value = float(words)
        except (TypeError, ValueError):
            value = float("nan")
        if code.values and value not in range(code.values) or not code.values and not -1 <= value <= 1:
            raise ConfigError(f"the code {code.name} is {str(words).strip() or 'nothing'}; expected {values_of(code)}")
        chosen.append((code, value))
    return chosen


def code_named(placed: PlacedModel, name: str) -> Code:
    """Return the code of that name.

    Raises:
        ConfigError: a model without codes, or an unknown name.
    """
    named = {code.name: code for code in placed.recipe.abilities.codes}
    if not named:
        raise ConfigError(f"this model of {placed.model.name} has no codes to choose: leave out {name}")
    if name not in named:
        raise ConfigError(f"this model has no code {name!r}: {closest(name, named)}")
    return named[name]


def values_of(code: Code) -> str:
    """Say which values a code has."""
    return f"a whole number from 0 to {code.values - 1}" if code.values else "a number from -1 to 1"


def traversed(placed: PlacedModel, name: str) -> list[list[tuple[Code, float]]]:
    """Return a code with each of its values in order: all of a category's, nine of a number's from -1 to 1.

    Raises:
        ConfigError: a model without codes, or an unknown name.
    """
    code = code_named(placed, name)
    values = range(code.values) if code.values else [2 * i / (STEPS - 1) - 1 for i in range(STEPS)]
    return [[(code, float(value))] for value in values]


def in_words(chosen: Chosen) -> str:
    """Return chosen codes as words: `digit=3,tilt=0.5`."""
    return ",".join(f"{code.name}={value:g}" for code, value in chosen)


def written(z: Tensor, chosen: Chosen) -> Tensor:
    """Return latents [N, Z] that say these values of their codes, as `Code.read` reads them.

    Of a category two numbers are exchanged, so that z stays standard normal.
    """
    z = z.clone()
    for code, value in chosen:
        if code.values:
            place = code.at + int(value)
            largest, rows = code.at + z[:, code.at : code.end].argmax(1), torch.arange(len(z), device=z.device)
            z[rows, largest], z[:, place] = z[:, place].clone(), z[rows, largest]
        else:
            z[:, code.at] = (math.sqrt(2) * torch.erfinv(torch.tensor(float(value)))).clamp(-FURTHEST, FURTHEST)
    return z
