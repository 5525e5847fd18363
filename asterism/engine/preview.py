"""Previews: the same validation pictures in every target, drawn while a run trains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.dataset import PictureSet
from asterism.data.loader import load_rows
from asterism.data.pictures import to_float, write
from asterism.data.sheets import grid
from asterism.recipes.base import Recipe

SOURCES = 8
STYLES = 2
"""Styles from noise, and as many from reference pictures, that a styled recipe's preview shows of every target."""


class Previews:
    """Writes `previews/step_NNNNNNNN.png`: one source a row, the source first, then every label as target.

    Labels of other datasets than the source's own start from what the recipe's class head predicts for the source. A recipe
    with styles shows every target in several styles: some from noise, the same for all targets and steps, and some from
    references, which stand in a row of their own at the top; domains of which `sets` has too few take theirs from `more`.
    """

    def __init__(
        self,
        run: Path,
        sets: list[PictureSet],
        recipe: Recipe,
        device: torch.device,
        seed: int,
        more: Sequence[PictureSet] = (),
    ) -> None:
        self.folder = run / "previews"
        self.folder.mkdir(parents=True, exist_ok=True)
        stored, labels, known = [], [], []
        dtype = next(recipe.parameters()).dtype
        self.references: dict[str, Tensor] = {}
        per_set = -(-SOURCES // len(sets))
        for pictures in sets:
            order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
            rows = order[:per_set].tolist()
            stored.append(load_rows(pictures, rows, recipe.picture))
            labels.append(pictures.labels[rows])
            known.append(pictures.known[rows])
            for index in recipe.space.domains(pictures.dataset) if recipe.styled else ():
                rest = [other for other in more if other.dataset == pictures.dataset]
                like = list(islice(_of_label(index, [pictures, *rest], seed), STYLES))
                x = torch.cat([load_rows(held, [row], recipe.picture) for held, row in like] or [stored[-1][:0]]).to(device)
                self.references[recipe.space.names[index]] = to_float(x, recipe.picture).to(dtype)
        self.x = to_float(torch.cat(stored).to(device), recipe.picture).to(dtype)
        self.labels, self.known = torch.cat(labels).to(device), torch.cat(known).to(device)
        if recipe.styled:
            self.z = torch.randn(STYLES, recipe.latent_dim, generator=torch.Generator().manual_seed(seed)).to(device, dtype)

    def draw(self, recipe: Recipe, step: int) -> None:
        """Write the preview of a step from the recipe's present weights."""
        blank = torch.ones_like(self.x[:1])
        columns, tops, names = [self.x], [blank], ["source"]
        labels = self.labels
        if recipe.classifies:
            labels = torch.where(self.known > 0, labels, recipe.space.decide(recipe.classify(self.x)))
        for index in range(recipe.space.num_datasets):
            dataset = torch.full((len(self.x),), index, device=self.x.device)
            known = recipe.space.known(dataset)
            shown = {recipe.space.names[i] for i in recipe.space.domains(index)}
            for name, wanted in recipe.space.single_edits(labels, index):
                target = Batch(labels=wanted * known, known=known, dataset=dataset)
                if not recipe.styled:
                    columns.append(recipe.translate(self.x, target).to(self.x.dtype))
                    names.append(name)
                for words, s, top in self._styles(recipe, name, target.labels) if recipe.styled and name in shown else ():
                    columns.append(recipe.translate(self.x, target.extend(s=s)).to(self.x.dtype))
                    tops.append(blank if top is None else top)
                    names.append(words)
        rows: Tensor = torch.stack(columns, dim=1)
        if recipe.styled:
            rows = torch.cat([torch.stack(tops, dim=1), rows])
        write(self.folder / f"step_{step:08d}.png", grid(rows.clamp(-1, 1).cpu()))
        (self.folder / "targets.json").write_text(json.dumps(names), encoding="utf-8")

    def _styles(self, recipe: Recipe, name: str, labels: Tensor) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """Yield what a column is called, its styles [N, S] and its reference [1, C, H, W], for every style of a target."""
        for number, z in enumerate(self.z, 1):
            yield f"{name}, noise {number}", recipe.draw_style(z.expand(len(labels), -1), labels), None
        for x in self.references.get(name, self.x[:0]):
            s = recipe.read_style(x[None], labels[:1]).expand(len(labels), -1)
            yield f"{name}, like", s, x[None]


def _of_label(index: int, sets: Sequence[PictureSet], seed: int) -> Iterator[tuple[PictureSet, int]]:
    """Yield the rows that have a label, in an order of chance, set after set."""
    for held in sets:
        rows = torch.nonzero(held.labels[:, index] > 0).flatten()
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + 1 + index))
        yield from ((held, int(row)) for row in rows[order])
