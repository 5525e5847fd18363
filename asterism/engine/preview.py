"""Previews: fixed validation pictures translated to every target during training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.dataset import PictureSet
from asterism.data.label_maps import as_made
from asterism.data.pictures import to_float, write
from asterism.data.reading import load_rows
from asterism.data.sheets import grid
from asterism.recipes.base import Recipe
from asterism.recipes.render import asked, generate, translate, whole_target
from asterism.storage.whole import write_json

SOURCES = 8
SAMPLES, ROW = 64, 8
"""Pictures of a generating recipe's preview, and how many stand in a row."""
STYLES = 2
"""Styles from noise, and as many from reference pictures, that a styled recipe's preview shows of every target."""


class Previews:
    """Writes `previews/step_NNNNNNNN.png`: one source a row, the source first, then every label as target.

    Labels of other datasets than the source's own start from what the recipe's class head predicts for the source. A recipe
    with styles shows every target in several styles: some from noise, the same for all targets and steps, and some from
    references, which stand in a row of their own at the top; domains of which `sets` has too few take theirs from `more`.
    """

    def __init__(self, run: Path, sets: list[PictureSet], recipe: Recipe, seed: int, more: Sequence[PictureSet]) -> None:
        self.folder = run / "previews"
        stored, labels, known = [], [], []
        weight = next(recipe.parameters())
        device, dtype = weight.device, weight.dtype
        self.references: dict[str, Tensor] = {}
        per_set = -(-SOURCES // len(sets))
        aims = [recipe.space.index(name) for name in recipe.abilities.targets]
        for pictures in sets:
            order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
            rows = order[pictures.labels[order][:, aims].sum(1) == 0][:per_set].tolist()  # Of the only target: nowhere to go.
            stored.append(load_rows(pictures, rows, recipe.picture.taken))
            labels.append(pictures.labels[rows].float())
            known.append(pictures.known[rows].float())
            for index in recipe.space.domains(pictures.dataset) if recipe.abilities.reads_style else ():
                rest = [other for other in more if other.dataset == pictures.dataset]
                like = list(islice(_of_label(index, [pictures, *rest], seed), STYLES))
                x = torch.cat([load_rows(held, [row], recipe.picture) for held, row in like] or [stored[-1][:0]]).to(device)
                self.references[recipe.space.names[index]] = to_float(x, recipe.picture).to(dtype)
        self.x = to_float(torch.cat(stored).to(device), recipe.picture.taken).to(dtype)
        self.labels, self.known = torch.cat(labels).to(device), torch.cat(known).to(device)
        if recipe.abilities.style:
            rng = torch.Generator().manual_seed(seed)
            self.z = torch.randn(STYLES, recipe.abilities.latent, generator=rng).to(device, dtype)

    def draw(self, recipe: Recipe, step: int) -> None:
        """Write the preview of a step from the recipe's present weights."""
        blank = torch.ones_like(self.x[:1])
        columns, tops, names = [as_made(self.x, recipe.picture)], [blank], ["source"]
        labels = self.labels
        if recipe.abilities.judges:
            labels = torch.where(self.known > 0, labels, recipe.space.decide(recipe.classify(self.x)))
        by_domain, shown = recipe.abilities.style or recipe.abilities.told == "domain", recipe.abilities.targets
        for index in range(recipe.space.num_datasets):
            dataset = torch.full((len(self.x),), index, device=self.x.device)
            domains = [recipe.space.names[i] for i in recipe.space.domains(index)]
            for name, wanted in recipe.space.single_edits(labels, index):
                if (by_domain and name not in domains) or (shown and name not in shown):
                    continue
                told = asked(recipe, wanted, dataset, labels)
                for words, s, top in self._styles(recipe, name, told):
                    columns.append(translate(recipe, self.x, told, s))
                    tops.append(blank if top is None else top)
                    names.append(words)
        rows: Tensor = torch.stack(columns, dim=1)
        if recipe.abilities.reads_style:
            rows = torch.cat([torch.stack(tops, dim=1), rows])
        write(self.folder / f"step_{step:08d}.png", grid(rows.cpu()))
        write_json(self.folder / "targets.json", names)

    def _styles(self, recipe: Recipe, name: str, told: Tensor) -> Iterator[tuple[str, Tensor | None, Tensor | None]]:
        """Yield what a column is called, its styles [N, S] and its reference [1, C, H, W], for every style of a target."""
        if not recipe.abilities.style:
            yield name, None, None
            return
        for number, z in enumerate(self.z, 1):
            yield f"{name}, noise {number}", recipe.draw_style(z.expand(len(told), -1), told), None
        for x in self.references.get(name, self.x[:0]):
            s = recipe.read_style(x[None], told[:1]).expand(len(told), -1)
            yield f"{name}, like", s, x[None]


class Samples:
    """Writes `previews/step_NNNNNNNN.png` of a recipe that generates: pictures of the same latents at every step.

    A recipe that is told labels shows a row for each; another one shows a square.
    """

    def __init__(self, run: Path, recipe: Recipe, seed: int) -> None:
        self.folder, device = run / "previews", next(recipe.parameters()).device
        self.z = torch.randn(SAMPLES, recipe.abilities.latent, generator=torch.Generator().manual_seed(seed)).to(device)
        self.told = []  # What `generate` is told, [1, ...] each: every single label, or one target without labels.
        space = recipe.space
        for index in range(space.num_datasets if recipe.abilities.told != "none" else 0):
            dataset = torch.full((1,), index, device=device)
            for _, labels in space.single_edits(torch.zeros(1, space.num_labels, device=device), index):
                self.told.append(recipe.condition(whole_target(space, labels, dataset)))
        self.told = self.told or [torch.zeros(1, 0, device=device)]

    def draw(self, recipe: Recipe, step: int) -> None:
        """Write the preview of a step from the recipe's present weights."""
        count = SAMPLES if len(self.told) == 1 else ROW
        rows = [generate(recipe, self.z[:count], told.expand(count, *told.shape[1:])) for told in self.told]
        pictures = torch.cat(rows).cpu()
        write(self.folder / f"step_{step:08d}.png", grid(pictures.unflatten(0, (-1, ROW))))
        write_json(self.folder / "targets.json", [])


def _of_label(index: int, sets: Sequence[PictureSet], seed: int) -> Iterator[tuple[PictureSet, int]]:
    """Yield the rows that have a label, in an order of chance, set after set."""
    for held in sets:
        rows = torch.nonzero(held.holding(index)).flatten()
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + 1 + index))
        yield from ((held, int(row)) for row in rows[order])
