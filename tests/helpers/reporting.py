"""What the tests of the report share: a run folder with known values, and the page read as a reader's program does."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """The page's elements and text; fails on markup that is not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] not in ("script", "style"):
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " | ".join(self.texts)

    @property
    def charts(self) -> list[dict[str, Any]]:
        found = re.search(r'<script id="charts" type="application/json">(.*?)</script>', self.source)
        assert found
        return json.loads(found[1])


def make_run(folder: Path, *, previews: int = 3, lines: int = 20) -> Path:
    """Write the files that training and evaluation leave, with known values."""
    (folder / "previews").mkdir(parents=True)
    (folder / "samples").mkdir()
    config = {
        "name": "stargan",
        "preset": "small",
        "recipe": {"reconstruction_weight": 7.5},
        "data": {"sources": ["/home/someone/pictures/avatars"], "size": [64, 64], "flip": True},
        "train": {"steps": 2000, "batch_size": 16},
    }
    (folder / "config.json").write_text(json.dumps(config))
    for i in range(previews):
        Image.new("RGB", (64 * 3, 64 * 2), (40 * (i % 6), 90, 90)).save(folder / "previews" / f"step_{i * 100:08}.png")
    (folder / "previews" / "targets.json").write_text(json.dumps(["source", "Blond_Hair", "Smiling"]))
    with open(folder / "log.jsonl", "w") as file:
        for i in range(1, lines + 1):
            terms = {"discriminator/real": -i / 2, "generator/class": 1 / i, "generator/broken": None}
            line = {"step": 10 * i, "images": 160 * i, "seconds": 4.0 * i, "images_per_second": 40.0, "waiting": 0.01}
            file.write(json.dumps({**line, "lr": {"generator": 1e-4}, "terms": terms, "skipped": 2}) + "\n")
        file.write('{"step": 9999, "ima')  # What a kill leaves.
    record = {
        "protocol": "stargan",
        "version": 1,
        "parameters": {},
        "split": "test",
        "checkpoint": "last",
        "step": 200,
        "precision": "float32",
        "extractor": {"name": "classifier", "digest": "0123456789abcdef", "dims": 256},
        "data": "abc",
        "metrics": {
            "reached": {"better": "higher", "unit": "share", "meaning": "found", "order": [["real", "copy"]]},
            "error ratio": {"better": "lower", "unit": "", "meaning": "error", "order": []},
        },
        "rows": [
            {"name": "translated", "kind": "translated", "pictures": 9, "values": {"reached": 0.934, "error ratio": 0.31}},
            {"name": "copy the input", "kind": "copy", "pictures": 9, "values": {"reached": 0.012, "error ratio": None}},
        ],
        "targets": {"Smiling": {"pictures": 9, "values": {"reached": 0.57}}},
        "matrices": {},
        "notes": ["as found by a classifier"],
        "cases": [
            {
                "title": "held-out pictures",
                "file": "samples/held_out.png",
                "columns": ["source", "Blond_Hair", "true"],
                "caption": "never seen in training",
            }
        ],
    }
    scores = {"format": 2, "protocols": {"stargan/classifier/test/last": record}}
    (folder / "scores.json").write_text(json.dumps(scores))
    Image.new("RGB", (64 * 3, 64)).save(folder / "samples" / "held_out.png")
    facts = {
        "recipe": "stargan",
        "config": config["recipe"],
        "labels": [{"dataset": "avatars", "labels": ["Blond_Hair", "Smiling"], "kind": "binary", "exclusive": []}],
        "picture": {"channels": 3, "height": 64, "width": 64},
        "info": {"version": "0.1.0", "licence": "CC0", "data": [{"name": "avatars", "pictures": 1200}]},
    }
    weights = {"generator.a": np.zeros((1000, 1500), np.float32), "discriminator.b": np.zeros((500, 500), np.float16)}
    save_file(weights, folder / "model.safetensors", {key: json.dumps(value) for key, value in facts.items()})
    return folder


def score(run: Path, **changes: Any) -> None:
    """Write one record of scores like the run's own with some fields changed, beside those that it has."""
    content = json.loads((run / "scores.json").read_text())
    record = {**content["protocols"]["stargan/classifier/test/last"], **changes}
    key = "/".join((record["protocol"], record["extractor"]["name"], record["split"], record["checkpoint"]))
    content["protocols"][key] = record
    (run / "scores.json").write_text(json.dumps(content))


def rows(translated: float, copied: float) -> list[dict[str, Any]]:
    return [
        {"name": "translated", "kind": "translated", "pictures": 9, "values": {"reached": translated}},
        {"name": "copy the input", "kind": "copy", "pictures": 9, "values": {"reached": copied}},
    ]


def tables(page: Page) -> list[str]:
    return re.findall(r'<table class="scores(?: many)?">.*?</table>', page.source, re.DOTALL)
