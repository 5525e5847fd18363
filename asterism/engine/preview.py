"""Previews: the same validation pictures in every target, drawn while a run trains."""

from __future__ import annotations

import json
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


class Previews:
    """Writes `previews/step_NNNNNNNN.png`: one source a row, the source first, then every label as target.

    Labels of other datasets than the source's own start from what the recipe's class head predicts for the source.
    """

    def __init__(self, run: Path, sets: list[PictureSet], recipe: Recipe, device: torch.device, seed: int) -> None:
        self.folder = run / "previews"
        self.folder.mkdir(parents=True, exist_ok=True)
        stored, labels, known = [], [], []
        per_set = -(-SOURCES // len(sets))
        for pictures in sets:
            order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
            rows = order[:per_set].tolist()
            stored.append(load_rows(pictures, rows, recipe.picture))
            labels.append(pictures.labels[rows])
            known.append(pictures.known[rows])
        self.x = to_float(torch.cat(stored).to(device), recipe.picture)
        self.labels, self.known = torch.cat(labels).to(device), torch.cat(known).to(device)

    def draw(self, recipe: Recipe, step: int) -> None:
        """Write the preview of a step from the recipe's present weights."""
        columns, names = [self.x], ["source"]
        labels = self.labels
        if recipe.classifies:
            labels = torch.where(self.known > 0, labels, recipe.space.decide(recipe.classify(self.x)))
        for index in range(recipe.space.num_datasets):
            dataset = torch.full((len(self.x),), index, device=self.x.device)
            known = recipe.space.known(dataset)
            for name, wanted in recipe.space.single_edits(labels, index):
                columns.append(recipe.translate(self.x, Batch(labels=wanted * known, known=known, dataset=dataset)).float())
                names.append(name)
        rows: Tensor = torch.stack(columns, dim=1).clamp(-1, 1).cpu()
        write(self.folder / f"step_{step:08d}.png", grid(rows))
        (self.folder / "targets.json").write_text(json.dumps(names), encoding="utf-8")
