"""What is to be told apart: real held-out pictures of a run, and what its model makes of them; stored as files hold them.

Stored values are compared, not the floats that a network gives: their digits alone would tell fakes from files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asterism.data.dataset import PictureSet
from asterism.data.pictures import PictureFormat, encode, from_pil, to_stored
from asterism.evaluation.candidates import Generator
from asterism.evaluation.pictures import Pictures, spread
from asterism.evaluation.protocols import protocol
from asterism.evaluation.tasks import generator_of, without_sources
from asterism.labels import LabelSpace
from asterism.machine import Machine
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe

QUALITY = 75
"""Of the JPEG compression: what programs take where nobody says anything."""


@dataclass(frozen=True)
class Exhibits:
    """Stored values, uint8, uint16 or float32: real pictures [N, C, H, W], and fakes [M, C, H, W]."""

    real: Tensor
    fake: Tensor


def exhibits(
    recipe: Recipe, machine: Machine, held: Sequence[PictureSet], space: LabelSpace, count: int, seed: int, batch: int
) -> Exhibits:
    """Return real pictures of some sets, and each of them translated to one target that is drawn for it; or generated ones.

    Args:
        held: the sets.
        space: the labels, and which of them exclude one another in an edit.
        count: pictures of each set, drawn once; 0 takes all.
        batch: fakes at once.
    """
    picture = recipe.picture.made
    sets = [Pictures(pictures, recipe.picture, print) for pictures in held if len(pictures)]
    real = [to_stored(pictures.load([row]), picture) for pictures in sets for row in spread(len(pictures), count)]
    system, work = Generator("translated", recipe, machine, sets, seed), []
    if recipe.abilities.translates:
        plan = replace(protocol("stargan").parameters, pictures=count)
        partners = [Partners(None, pictures.labels) for pictures in sets]
        edits = [t for t in protocol("stargan").plan(sets, space, partners, recipe, plan) if t.index is not None]
        edits = [replace(t, mode="latent" if recipe.abilities.style else "label") for t in edits]
        places: dict[tuple[int, int], list[int]] = {}
        for number, task in enumerate(edits):
            for row in task.rows:
                places.setdefault((task.pictures, row), []).append(number)
        drawn: dict[int, list[int]] = {}
        for (pictures_of, row), numbers in places.items():
            rng = generator_of(f"{seed}|fake|{pictures_of}|{row}")
            drawn.setdefault(numbers[int(torch.randint(len(numbers), (1,), generator=rng))], []).append(row)
        work = [(edits[number], rows) for number, rows in sorted(drawn.items())]
    else:
        tasks = without_sources(sets, space, -(-len(real) // len(sets)), told=recipe.abilities.told != "none")
        work = [(task, list(task.rows)) for task in tasks]
    fake = []
    for task, rows in work:
        for part in (rows[i : i + batch] for i in range(0, len(rows), batch)):
            wanted = task.wanted[[task.rows.index(row) for row in part]]
            x = torch.empty(len(part), 0) if task.like else sets[task.pictures].load(part)
            fake.append(to_stored(system.outputs(task, part, x, wanted), picture))
    shape = (0, picture.channels, picture.height, picture.width)
    return Exhibits(*(torch.cat(side) if side else torch.empty(shape) for side in (real, fake)))


def compressed(x: Tensor, picture: PictureFormat) -> Tensor | None:
    """Return pictures, stored values [N, C, H, W], as JPEG leaves them; none where JPEG does not hold such pictures."""
    if picture.depth != 8 or picture.channels not in (1, 3):
        return None
    read = []
    for stored in x:
        file = io.BytesIO(encode(np.ascontiguousarray(stored.permute(1, 2, 0).numpy()), ".jpg", QUALITY))
        with Image.open(file) as image:
            read.append(torch.from_numpy(from_pil(image, picture.channels)).permute(2, 0, 1))
    return torch.stack(read)
