"""What codes came to mean: which labels of real pictures they tell, as the model's own recogniser reads them (InfoGAN).

Shapes: M real pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from asterism.evaluation.pictures import Pictures
from asterism.evaluation.summary import set_names
from asterism.labels import LabelSpace
from asterism.machine import Machine, at_least_float32
from asterism.metrics.information import entropy, mutual_information, parts
from asterism.recipes.base import Recipe

TOLD = "label told by code"
"""The name of the matrix in a record."""

MEANING = (
    f"{TOLD}: mutual information of a code, as the model reads it from real held-out pictures, and a label, as a share of the "
    "label's entropy: 0, the code says nothing of the label; 1, the code tells it"
)

PARTS = 10
"""A number is taken for a labelling by its tenths."""


def told_by_codes(
    recipe: Recipe, machine: Machine, sets: Sequence[Pictures], space: LabelSpace, batch: int
) -> dict[str, Any] | None:
    """Return the matrix codes x labels; none of recipes without codes, or where no label varies."""
    codes = recipe.abilities.codes
    if not codes:
        return None
    read = torch.cat([_read(recipe, machine, pictures, batch) for pictures in sets])
    first, columns = codes[0].at, list(_labellings(sets, space))
    values = [read[:, code.at - first : code.end - first] for code in codes]
    labellings = [v.argmax(1) if code.values else parts(v[:, 0], PARTS) for code, v in zip(codes, values, strict=True)]
    table = [[mutual_information(x[known], y[known]) / entropy(y[known]) for _, y, known in columns] for x in labellings]
    if not columns:
        return None
    return {"rows": [code.name for code in codes], "columns": [name for name, _, _ in columns], "values": table}


def _read(recipe: Recipe, machine: Machine, pictures: Pictures, batch: int) -> Tensor:
    rows = range(len(pictures))
    found = []
    with torch.inference_mode(), machine.autocast():
        for first in range(0, len(rows), batch):
            x = pictures.load(rows[first : first + batch]).to(machine.device, machine.full_dtype)
            found.append(at_least_float32(recipe.recognise(x)).cpu())
    return torch.cat(found)


def _labellings(sets: Sequence[Pictures], space: LabelSpace) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield every set of alternatives and every other label that varies: name, int64 [M], and of which pictures it is known."""
    labels, known = (torch.cat([getattr(pictures, name) for pictures in sets]) for name in ("labels", "known"))
    choices = list(zip(set_names(space), map(list, space.alternatives), strict=True))
    among = {index for _, choice in choices for index in choice}
    choices += [(name, [index]) for index, name in enumerate(space.names) if index not in among]
    for name, choice in choices:
        whole, own = known[:, choice].amin(1) > 0, labels[:, choice]
        y = own.argmax(1) if len(choice) > 1 else own[:, 0].long()
        if choice[0] in space.numbers:
            y = parts(own[:, 0], PARTS)
        if len(y[whole].unique()) > 1:
            yield name, y, whole
