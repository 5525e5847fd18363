"""`scores.json`: what was measured, by which protocol, on what; docs/evaluation.md describes every field."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from asterism.storage.run_folder import SCORES_FORMAT, read_scores
from asterism.storage.whole import write_json

FILE = "scores.json"


def key(record: dict[str, Any]) -> str:
    """Return what names a record among a run's: protocol/extractor/split/checkpoint, such as stargan/classifier/test/best."""
    return "/".join((record["protocol"], record["extractor"]["name"], record["split"], record["checkpoint"]))


def keep(run: Path, record: dict[str, Any]) -> None:
    """Write a record into the run's `scores.json`, in place of an older one of the same key; the others stay as they are.

    A file that cannot be read, damaged or of another format, is moved aside, and that is said.
    """
    file = run / FILE
    records = read_scores(file)
    if file.exists() and not records:
        aside = next(p for n in count(1) if not (p := run / f"scores.old_{n}.json").exists())
        file.rename(aside)
        print(f"{file} is damaged, or of another version: it is now {aside.name}, and the scores start anew")
    write_json(file, {"format": SCORES_FORMAT, "protocols": records | {key(record): record}})
