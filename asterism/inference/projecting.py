"""Project pictures onto the manifold of a model: the codes whose pictures are most like them.

model = asterism.load("runs/noise")
found = model.project("me.jpg")
found.codes, found.pictures, found.errors

Shapes: N pictures; codes [N, D].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.decoding import decoder_of, decodes
from asterism.inference.generator import check_batch_size, chosen_seeds
from asterism.inference.images import fit_in, open_image, rebuilt, split
from asterism.inference.placed import PlacedModel
from asterism.manifold.decoder import Decoder, pausing
from asterism.manifold.projection import FEATURE_WEIGHT, STARTS, Features, Projection, draw_starts, project

Read = Callable[[Tensor], Tensor]
"""From pictures [N, C, h, w] in [-1, 1] to codes [N, D]: a trained projector."""


FAR = 0.9
"""Share of a plain colour's error."""


@dataclass(frozen=True)
class Projected:
    """Pictures on a model's manifold.

    Args:
        kind: what the codes are: latent, style or labels.
        codes: float32 [N, D] on the CPU.
        pictures: what the model makes of them, at its size; PIL images where Pillow holds them.
        x: the pictures as the model saw them, float32 [N, C, h, w] in [-1, 1] on the CPU.
        y: what it makes of the codes, likewise.
        errors: mean squared error of the pixels, in the range [-1, 1], one number each.
        far: per picture, whether the error is hardly below that of one plain colour (`FAR`): the model makes nothing like it.
    """

    kind: str
    codes: Tensor
    pictures: list[Any]
    x: Tensor
    y: Tensor
    errors: list[float]
    far: list[bool]


def project_pictures(
    placed: PlacedModel,
    images: Any,
    *,
    to: str | Mapping[str, Any] | None = None,
    labels: str | Mapping[str, Any] | None = None,
    method: Literal["lbfgs", "adam"] = "lbfgs",
    starts: int = STARTS,
    steps: int | None = None,
    features: Features | None = None,
    feature_weight: float = FEATURE_WEIGHT,
    read: Read | None = None,
    seed: int = 0,
    fit: str = "crop",
    batch_size: int = 64,
    pause: Callable[[], None] | None = None,
) -> Projected:
    """Find the codes of pictures.

    A model that generates is searched for a latent; one that translates in styles for the style, of the domain `to`, in which
    the picture's translation is most like the picture itself; one that is told labels for those labels, as numbers between
    the ones that it has learnt.

    Args:
        images: one or several, in the forms that `translate` takes.
        to: the target, for latents of models that are told labels, and the domain of styles.
        labels: what is known of the pictures' labels, for models whose codes are labels.
        method: `lbfgs` or `adam`.
        starts: codes that each search begins with; the best result is taken.
        steps: at most, of each search; none takes 100 of L-BFGS or 300 of Adam.
        features: a network that sees pictures [N, C, h, w] in [-1, 1]; what it makes of them counts beside the pixels.
        feature_weight: its weight.
        read: a projector, whose codes the search starts from, in place of one of the drawn ones.
        seed: of the drawn starts.
        fit: `crop` takes the centre, as training does; `letterbox` all of a picture, padded by its edges.
        batch_size: searches at once; changes no result beyond rounding.
        pause: called before each time that pictures are made; what it raises ends the search.

    Raises:
        PictureError: a picture that cannot be read or taken.
        ModelError: the model decodes no code.
        LabelError: a target where there is none, or the reverse.
        ConfigError: numbers out of range, or an unknown method.
    """
    if fit not in ("crop", "letterbox"):
        raise ConfigError(f"fit is {fit!r}; a picture is projected at the model's size: expected crop or letterbox")
    check_batch_size(batch_size)
    chosen_seeds(None, [seed])  # Refuses one that PyTorch does not take.
    kind, machine, picture = decodes(placed), placed.machine, placed.model.picture
    singles, _ = split(images)
    x = torch.cat([machine.take(fit_in(open_image(image, picture), picture, fit, machine.device)[0]) for image in singles])
    at_once = max(1, batch_size // max(1, starts)) if kind == "latent" else 1  # Other decoders hold a source each.
    parts = []
    with machine.backend_flags():
        for some in x.split(at_once):
            decoder = pausing(decoder_of(placed, to, some, labels), pause)
            begin = starts_of(decoder, some, starts, read, seed)
            parts.append(
                project(
                    decoder,
                    some,
                    begin,
                    method=method,
                    steps=steps,
                    features=features,
                    feature_weight=feature_weight,
                )
            )
    return _gathered(placed, kind, x, parts)


def starts_of(decoder: Decoder, x: Tensor, starts: int, read: Read | None, seed: int) -> Tensor:
    """Return the starts [N, K, D] of pictures: a projector's codes first, then drawn ones."""
    drawn = draw_starts(decoder, len(x), starts, x, seed)
    return drawn if read is None else torch.cat([read(x)[:, None].to(x), drawn[:, 1:]], 1)


def _gathered(placed: PlacedModel, kind: str, x: Tensor, parts: list[Projection]) -> Projected:
    y = torch.cat([part.pictures for part in parts]).float().cpu()
    errors = torch.cat([part.errors for part in parts]).float().cpu()
    plain = x.float().cpu()
    spread = plain.var((2, 3), correction=0).mean(1)  # The squared error of the best plain colour.
    return Projected(
        kind,
        torch.cat([part.codes for part in parts]).float().cpu(),
        [rebuilt(one, placed.model.picture) for one in y],
        plain,
        y,
        errors.tolist(),
        (errors >= FAR * spread).tolist(),
    )
