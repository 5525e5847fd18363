"""Metadata of an exported file: everything that a program needs to use it without this library.

Every value is JSON text; docs/export.md describes them one by one.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch

from asterism import __version__
from asterism.data.pictures import PictureFormat
from asterism.export.graphs import Graph
from asterism.labels import LabelSpace
from asterism.recipes.model import Model

FORMAT = 1

MEANINGS = {
    "image": "pictures [N, C, H, W] in [-1, 1]",
    "code": "wanted labels, 1 holds and 0 does not, numbers as shares of their range, in the order of `code` [N, n]",
    "codes": "wanted labels as in a code, then those of the picture, each in the order of `code` [N, 2 n]",
    "difference": "wanted labels less those of the picture, numbers as shares of their range, in the order of `names` [N, L]",
    "change": "labels asked for: 1 to hold, -1 not to hold, 0 to stay, numbers as places in their range from -1 to 1, in the "
    "order of `names`; then for each number 1 where it is asked for; then the strength, 1 for the whole change [N, n]",
    "style": "how the results are to look [N, S]; from the mapping or the style encoder, or one of `mean_styles`",
    "latent": "standard normal noise [N, Z]",
    "domain": "index into `domains` [N], of one that is not null",
    "mask_face": "where the coarsest edges of the picture are carried over [N, 1, h, w] in [0, 1]",
    "mask_core": "where its finer edges are carried over [N, 1, h, w] in [0, 1]",
    "masks": "mask_face and mask_core, one channel each [N, 2, h, w] in [0, 1]",
    "picture": "generated pictures [N, C, H, W] in [-1, 1]",
    "translation": "translated pictures [N, C, H, W] in [-1, 1]",
    "logits": "raw scores of the labels, in the order of `names` [N, L]: above 0, or of alternatives the largest, holds; of "
    "numbers their shares of the range",
}


def facts_of(model: Model, graph: Graph, precision: str) -> dict[str, str]:
    """Return the metadata of one graph of a model: key -> JSON text."""
    picture, space, recipe = model.picture, model.space, model.recipe
    facts: dict[str, Any] = {
        "format": FORMAT,
        "recipe": model.name,
        "graph": graph.name,
        "precision": precision,
        "inputs": {name: MEANINGS[name] for name in graph.inputs} | _maps(graph, picture),
        "output": {graph.output: MEANINGS[graph.output]},
        "labels": space.to_json(),
        "names": list(space.names),
        "picture": asdict(picture),
        "normalization": _normalization(picture.taken),
        **({"output_normalization": _normalization(picture)} if picture.source else {}),
        "side_multiple": graph.side_multiple,
        "keeps": recipe.abilities.keeps,
        "licence": model.info.get("licence") or "not stated",
        "step": model.info.get("step"),
        "data": [held.get("name") for held in model.info.get("data") or []],
        "version": __version__,
    }
    can = recipe.abilities
    if can.told == "domain":
        facts["domains"] = [None if name in model.unreachable else name for name in space.domain_names]
    elif can.told in ("code", "codes"):
        facts["code"] = code_names(space)
    if can.codes and "latent" in graph.inputs:
        facts["codes"] = [asdict(code) for code in can.codes]
    if can.style:
        with torch.no_grad():
            told = torch.arange(len(space.domain_names), device=next(recipe.parameters()).device)
            means = recipe.mean_style(told).float().cpu()
        facts["mean_styles"] = [[round(v, 6) for v in row] for row in means.tolist()]
    return {key: json.dumps(value) for key, value in facts.items()}


def _normalization(picture: PictureFormat) -> dict[str, Any]:
    """Say how stored values become those of tensors; ids of label maps stay what they are."""
    if picture.classes:
        return {"stored": [0, picture.classes - 1], "tensor": [0, picture.classes - 1], "clip": False, "layout": "NCHW"}
    return {"stored": [picture.low, picture.high], "tensor": [-1, 1], "clip": picture.depth < 32, "layout": "NCHW"}


def _maps(graph: Graph, picture: PictureFormat) -> dict[str, str]:
    """Return what a label map is, in place of what pictures are, for the graph that translates it."""
    taken = picture.taken
    if not taken.classes or graph.name != "translator":
        return {}
    both = "; channel 1: ids of instances, any that differ" if taken.channels == 2 else ""
    text = f"label maps [N, {taken.channels}, H, W]; channel 0: class ids, whole numbers from 0 to {taken.classes - 1}{both}"
    return {"image": text}


def code_names(space: LabelSpace) -> list[str]:
    """Name the entries of a code: the labels, then, of several datasets, the mask bits."""
    return [*space.names, *(f"mask:{name}" for name in space.datasets)][: space.code_size]
