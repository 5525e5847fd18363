"""`scores.json`: what was measured, by which protocol, on what; docs/evaluation.md describes every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asterism.engine.run import write_json
from asterism.run_folder import SCORES_FORMAT, read_scores

FILE = "scores.json"


def key(record: dict[str, Any]) -> str:
    """Return what names a record among a run's: protocol/extractor/split/checkpoint, such as stargan/classifier/test/best."""
    return "/".join((record["protocol"], record["extractor"]["name"], record["split"], record["checkpoint"]))


def keep(run: Path, record: dict[str, Any]) -> None:
    """Write a record into the run's `scores.json`, in place of an older one of the same key; the others stay as they are."""
    records = {**read_scores(run / FILE), key(record): record}
    write_json(run / FILE, {"format": SCORES_FORMAT, "protocols": records})
