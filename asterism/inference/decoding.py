"""The codes of a loaded model: what decodes them, those that are saved beside it, and codes in words.

Shapes: codes [N, D]; x [1, C, h, w] at the model's size.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError, closest
from asterism.data.batch import Batch
from asterism.inference import source_labels
from asterism.inference.generator import chosen_seeds, latents, told_of
from asterism.inference.placed import PlacedModel
from asterism.labels import LabelError
from asterism.manifold.arithmetic import combine
from asterism.manifold.code_files import CODES, DIRECTIONS, Codes, read_codes, write_codes
from asterism.manifold.decoder import Decoder, of_labels, of_latents, of_styles
from asterism.manifold.spaces import Ball
from asterism.storage.model_file import ModelError

SEED = re.compile(r"seed(-?\d{1,19})")
"""Names of the latents of seeds, which every model that generates has."""


def decodes(placed: PlacedModel) -> str:
    """Say what the codes of a model are: latent, style or labels.

    Raises:
        ModelError: it decodes none.
    """
    can = placed.recipe.abilities
    if can.generates:
        return "latent"
    if can.style and can.latent:
        return "style"
    if can.translates and can.told in ("code", "difference"):
        return "labels"
    raise ModelError(f"this model of {placed.model.name} decodes no code that could be searched: no latent, style or labels")


def decoder_of(placed: PlacedModel, to: str | Mapping[str, Any] | None, x: Tensor | None = None, labels: Any = None) -> Decoder:
    """Return what decodes the codes of a model.

    Args:
        to: the target, for models that are told labels and whose codes are others: latents, or styles of a domain.
        x: the source, for models that translate.
        labels: what is known of its labels, as for `translate`; the others are predicted.

    Raises:
        ModelError, LabelError: as for `told_of`; or a model that decodes no code.
    """
    kind, model, recipe = decodes(placed), placed.model, placed.recipe
    if kind == "latent":
        return of_latents(recipe, told_of(placed, to))
    assert x is not None
    if kind == "style":
        if to is None and recipe.abilities.told != "none":
            raise LabelError(f"this model of {model.name} has styles of domains: name one (--to, to=) of {placed.labels}")
        wanted = torch.zeros(1, model.space.num_labels, device=x.device)
        labels_of, known, dataset = wanted, wanted, torch.zeros(1, dtype=torch.long, device=x.device)
        if to is not None:
            labels_of, known, dataset = placed.parse(to)[0].apply(model.space, wanted)
        return of_styles(recipe, x, recipe.condition(Batch(labels=labels_of, known=known, dataset=dataset), labels_of))
    if to is not None:
        raise LabelError(f"the codes of {model.name} are its labels, which are searched: leave out the target, {to}")
    if recipe.abilities.told == "difference":
        return of_labels(recipe, x, x.new_zeros(1, model.space.num_labels), slice(0, model.space.num_labels))
    (known_labels,) = source_labels.stated(model.space, labels, 1)
    number = next((d for d in range(model.space.num_datasets) if _holds(model.space.dataset_span(d), known_labels)), 0)
    edits = placed.parse(model.space.names[model.space.dataset_span(number)][0])
    with torch.no_grad():
        own = source_labels.complete(model.space, [known_labels], [edits], placed.classifier(x), "slide").to(x)
    dataset = torch.full((1,), number, device=x.device)
    known = model.space.known(dataset).to(x)
    told = recipe.condition(Batch(labels=own * known, known=known, dataset=dataset))
    return of_labels(recipe, x, told, model.space.dataset_span(number))


def _holds(span: slice, known: Mapping[int, float]) -> bool:
    return any(span.start <= index < span.stop for index in known)


def saved_codes(placed: PlacedModel, size: int, file: str | os.PathLike[str] | None = None) -> Codes:
    """Return the codes that are saved beside a model, or in a file; none where nothing is saved.

    Args:
        size: D.
        file: to be read instead of `codes.safetensors` beside the model.

    Raises:
        ConfigError: no such file, a damaged one, or codes of another model.
    """
    kind, name = decodes(placed), placed.model.name
    beside = beside_model(placed, CODES)
    if file is None and (beside is None or not beside.exists()):
        return Codes(kind, name, {})
    chosen = file if file is not None else beside
    assert chosen is not None
    codes = read_codes(chosen)
    codes.check(chosen, kind, name, size)
    return codes


def beside_model(placed: PlacedModel, name: str) -> Path | None:
    """Return the place of a file beside the model's own; none for a model from memory."""
    path: Path | None = getattr(placed, "path", None)
    return None if path is None else path.parent / name


def code_in_words(placed: PlacedModel, words: str, codes: Codes) -> Tensor:
    """Return the latent [D] that a sum describes: `me - seed3 + 0.5*smile`; of saved codes, and seeds by `seed<number>`.

    Raises:
        ConfigError: a name that no code has, with the closest, or a sum that cannot be read.
    """

    def code_of(name: str) -> Tensor:
        if name in codes.by_name:
            return codes.by_name[name]
        if (seed := SEED.fullmatch(name)) and codes.kind == "latent":
            return latents(chosen_seeds(None, [int(seed[1])]), placed.recipe.abilities.latent)[0]
        raise ConfigError(f"no code is saved as {name!r}: {closest(name, [*codes.by_name, 'seed0'])}")

    return combine(words, code_of, shorten=codes.kind == "latent")


def saved_directions(placed: PlacedModel) -> Codes:
    """Return the directions that are kept beside a model; none where there are none.

    Raises:
        ConfigError: a damaged file, or directions of another model.
    """
    beside = beside_model(placed, DIRECTIONS)
    if beside is None or not beside.exists():
        return Codes("latent", placed.model.name, {})
    found = read_codes(beside)
    found.check(beside, "latent", placed.model.name, placed.recipe.abilities.latent)
    return found


def keep_directions(placed: PlacedModel, directions: Codes) -> Path:
    """Write directions beside a model, with those that are there under other names; return the file.

    Raises:
        ModelError: the model was not loaded from a file.
    """
    beside = beside_model(placed, DIRECTIONS)
    if beside is None:
        raise ModelError("this model was not loaded from a file: no directions are kept beside it")
    write_codes(beside, saved_directions(placed).merged(directions))
    return beside


def moved(placed: PlacedModel, codes: Tensor, along: Mapping[str, float] | None, truncation: float = 1.0) -> Tensor:
    """Return latents [N, Z] drawn towards their mean, zero, and then moved along directions.

    Args:
        along: how far, by the name of each direction: 1 is from the pictures without a label to those with it.
        truncation: 1 leaves latents, 0 is the mean one.

    Raises:
        ConfigError: an unknown direction, a truncation beyond 0 to 1, or latents that have become longer than any that are
            drawn.
    """
    if not 0 <= truncation <= 1:
        raise ConfigError(f"truncation is {truncation}; expected between 0 and 1")
    codes, held = codes * truncation, saved_directions(placed).by_name if along else {}
    for name, amount in (along or {}).items():
        if name not in held:
            raise ConfigError(
                f"no direction {name!r} is kept beside this model: {closest(name, held)}; asterism directions finds some"
            )
        codes = codes + amount * held[name].to(codes)
    Ball(placed.recipe.abilities.latent).check(codes)
    return codes


def read_along(words: Sequence[str]) -> dict[str, float]:
    """Read how far to go along directions: `Smiling=2`.

    Raises:
        ConfigError: words without a name or a number.
    """
    found = {}
    for word in words:
        name, _, amount = word.rpartition("=")
        try:
            found[name.strip()] = float(amount)
        except ValueError:
            name = ""
        if not name.strip():
            raise ConfigError(f"--along {word}: expected a direction and how far, such as Smiling=2")
    return found
