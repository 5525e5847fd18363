"""Pictures to test an export on: held-out pictures of the run's data, given ones, or synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from asterism.config import ConfigError
from asterism.data.dataset import PictureSet, open_data
from asterism.data.pictures import PictureError, PictureFormat, to_float
from asterism.data.reading import load_rows
from asterism.errors import AsterismError
from asterism.inference.folder import find_pictures
from asterism.inference.images import fit_in, open_file
from asterism.recipes import recipe_class
from asterism.recipes.settings import Settings

COMPARED, CALIBRATION = 24, 64
"""Numbers of pictures for comparison and for int8 calibration."""


@dataclass(frozen=True)
class Samples:
    """Pictures float32 [M, C, H, W] in [-1, 1], or ids of label maps, at the model's size.

    Args:
        compared: what the exported file and the translator are compared on.
        calibration: what the ranges of int8 come from; none of those that are compared, where there are enough.
        origin: where they are from, in words.
    """

    compared: Tensor
    calibration: Tensor
    origin: str


def find_samples(folder: Path | None, picture: PictureFormat, data: Sequence[str] = (), make: bool = True) -> Samples:
    """Return pictures to try an export on.

    Args:
        folder: the run's folder, or none; its held-out pictures are compared, pictures of its training calibrate.
        data: folders of pictures and files that are taken instead.
        make: make pictures where there are none; ranges for int8 that come from such hold for no others.

    Raises:
        ConfigError: nothing in `data` can be read, or there are no pictures and none may be made.
    """
    if data:
        return _given([Path(d) for d in data], picture)
    held = _of_run(folder, picture) if folder else None
    if held is not None:
        return held
    if not make:
        raise ConfigError("int8 needs pictures for calibration, and there are none: name some typical ones with --data")
    made = make_pictures(COMPARED + CALIBRATION, picture)
    return Samples(made[:COMPARED], made[COMPARED:], "synthetic pictures, because the run's data are not here")


def no_pictures(picture: PictureFormat) -> Samples:
    """Return as many samples as pictures would be, for a model that takes latents alone, of which each sample has its own."""
    blank = torch.zeros(COMPARED + CALIBRATION, picture.taken.channels, picture.height, picture.width)
    return Samples(blank[:COMPARED], blank[COMPARED:], f"the pictures of {COMPARED} latents")


def make_pictures(count: int, picture: PictureFormat, seed: int = 0) -> Tensor:
    """Make pictures [count, C, H, W] in [-1, 1]: soft grounds with sharp-edged patches, the same for the same seed."""
    rng, shape = torch.Generator().manual_seed(seed), (picture.height, picture.width)
    if picture.taken.classes:
        return _make_maps(count, picture.taken, rng)
    picture = picture.taken
    x = _stretched(torch.rand(count, picture.channels, 4, 4, generator=rng) * 2 - 1, shape)
    for cells in (5, 9):
        where = _stretched(torch.rand(count, 1, cells, cells, generator=rng), shape) > 0.6
        x = torch.where(where, torch.rand(count, picture.channels, 1, 1, generator=rng) * 2 - 1, x)
    return x + 0.05 * (torch.rand(x.shape, generator=rng) - 0.5) * (1 - x.abs())


def _make_maps(count: int, picture: PictureFormat, rng: torch.Generator) -> Tensor:
    """Make label maps of patches: where another class of a few is the strongest, another id stands."""
    shape, parts = (picture.height, picture.width), []
    for most in (picture.classes, 2**15)[: picture.channels]:
        ids = torch.randint(most, (count, 8), generator=rng)
        strongest = _stretched(torch.rand(count, 8, 4, 4, generator=rng), shape).argmax(1)
        parts.append(ids.gather(1, strongest.flatten(1)).unflatten(1, shape))
    return torch.stack(parts, 1).float()


def _stretched(x: Tensor, shape: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=shape, mode="bicubic", align_corners=False).clamp(-1, 1)


def _given(paths: Sequence[Path], picture: PictureFormat) -> Samples:
    """Read pictures that the user named; every second one is compared, the others calibrate."""
    files = [path for path, _ in find_pictures(paths)]
    wanted = COMPARED + CALIBRATION
    opened, reason = [], PictureError("")
    for path in files[:: max(1, len(files) // wanted)][:wanted]:
        try:
            opened.append(fit_in(open_file(path, picture), picture, "crop", torch.device("cpu"))[0])
        except PictureError as error:
            reason = PictureError(f"{path}: {error}")
    if not opened:
        raise ConfigError(f"none of the {len(files)} pictures in --data can be read: {reason}")
    x = torch.cat(opened)
    compared = x[::2][:COMPARED]
    rest = torch.cat([x[1::2], x[::2][COMPARED:]])
    where = ", ".join(map(str, paths))
    return Samples(compared, rest[:CALIBRATION] if len(rest) else compared, f"{len(x)} pictures of {where}")


def _of_run(folder: Path, picture: PictureFormat) -> Samples | None:
    """Read pictures of the run's data, or return none where these are no longer there."""
    try:
        settings = Settings.of_run(folder)
        if not settings.data.sources:
            return None
        known = recipe_class(settings.name)
        splits = open_data(settings.data, known.labelled, known.two_kinds).splits
        name = next(n for n in ("test", "val", "train") if any(len(s) for s in splits[n]))
        compared, calibration = _spread(splits[name], COMPARED, picture), _spread(splits["train"], CALIBRATION, picture)
    except (AsterismError, OSError):  # Moved, changed or partly gone: the export does not depend on them.
        return None
    return Samples(compared, calibration, f"{len(compared)} {name} pictures of {', '.join(settings.data.sources)}")


def _spread(sets: Sequence[PictureSet], count: int, picture: PictureFormat) -> Tensor:
    """Return about `count` pictures, evenly spaced, from all the sets alike."""
    sets = [pictures for pictures in sets if len(pictures)]
    share, parts = -(-count // len(sets)), []
    for pictures in sets:
        held = [row for row, own in enumerate(pictures.is_source) if own] if picture.source else range(len(pictures))
        rows = held[:: max(1, len(held) // share)][:share]
        parts.append(to_float(load_rows(pictures, rows, picture.taken), picture.taken))
    return torch.cat(parts)
