"""Find directions of a generator's codes: of samples that a classifier labels, or of the run's own labelled pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.dataset import open_data
from asterism.evaluation.pictures import Pictures, spread
from asterism.inference.decoding import decoder_of
from asterism.inference.projecting import Read, project_pictures
from asterism.inference.translator import Translator
from asterism.manifold.code_files import Codes
from asterism.manifold.directions import of_label, principal, principal_of_pictures
from asterism.recipes import recipe_class
from asterism.recipes.base import Recipe
from asterism.recipes.settings import Settings

AT_ONCE = 32
"""Pictures that are projected together."""

SEEN = 64
"""Pixels of the longer side at which pictures are compared for their principal directions."""


def from_samples(
    model: Translator, classifier: Recipe | None, *, count: int = 2000, components: int = 0, seed: int = 0, batch_size: int = 64
) -> tuple[Codes, list[str]]:
    """Return directions of drawn latents: of every label that a classifier reads in their pictures, and principal ones.

    Args:
        classifier: of the same kind of pictures, on the model's device; none: no labels.
        count: latents that are drawn.
        components: principal directions of the pictures.

    Returns:
        The directions by name, `pc1` and so on among them; and labels that were left out, with the reason.

    Raises:
        ModelError: the model does not generate.
        ConfigError: no samples, neither labels nor components are wanted, or no direction was found.
    """
    if count < 1:
        raise ConfigError(f"the number of samples is {count}; expected at least 1")
    decoder = decoder_of(model, None)
    codes, seen, logits = decoder.space.draw(count, torch.Generator().manual_seed(seed)), list[Tensor](), list[Tensor]()
    with torch.no_grad(), model.machine.backend_flags():
        for z in codes.split(batch_size):
            y = decoder.decode(z.to(model.machine.device, model.machine.full_dtype))
            if classifier is not None:
                logits.append(classifier.classify(y).float().cpu())
            if components:
                side = max(1, round(max(y.shape[2:]) / SEEN))
                seen.append(torch.nn.functional.avg_pool2d(y, side).flatten(1).float().cpu())
    found, left, facts = dict[str, Tensor](), list[str](), dict[str, str]()
    if classifier is not None:
        labels = classifier.space.decide(torch.cat(logits))
        found, left, facts = _of_labels(codes, labels, torch.ones_like(labels), classifier.space.names, "samples")
    if components:
        directions, shares = principal_of_pictures(codes, torch.cat(seen), components)
        found |= {f"pc{k}": direction for k, direction in enumerate(directions, 1)}
        facts |= {f"pc{k}": f"{share:.1%} of the variance of {count} samples" for k, share in enumerate(shares.tolist(), 1)}
    return _whole(model, found, facts), left


def from_pictures(
    model: Translator,
    run: Path,
    *,
    count: int = 500,
    components: int = 0,
    read: Read | None = None,
    starts: int = 2,
    steps: int = 50,
) -> tuple[Codes, list[str]]:
    """Return directions of the codes of a run's own training pictures, which have the labels of the data.

    Args:
        run: its folder; its data are read where its config.json says that they are.
        count: pictures, drawn once and for all.
        components: principal directions of their codes.
        read, starts, steps: how each is projected, as for `project_pictures`.

    Returns, raises: as for `from_samples`; DataError for data that cannot be read.
    """
    settings = Settings.of_run(run)
    data = open_data(settings.data, recipe_class(settings.name).labelled)
    (held,) = data.splits["train"][:1]
    chosen = held.take(spread(len(held), count))
    pictures = Pictures(chosen, model.model.picture, print)
    parts = torch.arange(len(pictures)).split(AT_ONCE)
    found_codes = (
        project_pictures(model, pictures.load(rows.tolist()), read=read, starts=starts, steps=steps) for rows in parts
    )
    codes = torch.cat([found.codes for found in found_codes])
    found, left, facts = _of_labels(codes, pictures.labels, pictures.known, data.space.names, "pictures")
    if components:
        directions, shares = principal(codes, components)
        found |= {f"pc{k}": direction for k, direction in enumerate(directions, 1)}
        facts |= {f"pc{k}": f"{share:.1%} of the variance of {len(codes)} codes" for k, share in enumerate(shares.tolist(), 1)}
    return _whole(model, found, facts), left


def _of_labels(
    codes: Tensor, labels: Tensor, known: Tensor, names: Sequence[str], what: str
) -> tuple[dict[str, Tensor], list[str], dict[str, str]]:
    found, left, facts = dict[str, Tensor](), list[str](), dict[str, str]()
    for index, name in enumerate(names):
        try:
            found[name] = of_label(codes, labels[:, index], known[:, index], name)
        except ConfigError as error:
            left.append(str(error))
        else:
            held = int(labels[known[:, index] > 0, index].sum())
            facts[name] = f"{held} of {int(known[:, index].sum())} {what} have it"
    return found, left, facts


def _whole(model: Translator, found: dict[str, Tensor], facts: dict[str, str]) -> Codes:
    if not found:
        raise ConfigError(
            "no direction was found: give a classifier (--classifier), take the run's own labelled pictures (--pictures N), or "
            "ask for principal directions (--components K)"
        )
    return Codes("latent", model.model.name, found, facts)
