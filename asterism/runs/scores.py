"""`scores.json`: what was measured, by which protocol, on what; docs/evaluation.md describes every field of a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from asterism.lock import locked
from asterism.storage.whole import write_json

FILE = "scores.json"
FORMAT = 2
"""Version of the layout of scores.json that is read and written."""

Record = Mapping[str, Any]


def read_scores(file: Path) -> dict[str, Record]:
    """Return the records of a scores.json by name, oldest first; none where it is missing, damaged or of another format."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}
    return dict(content.get("protocols", {}))


def key(record: Record) -> str:
    """Return what names a record among a run's: protocol/extractor/split/checkpoint, such as stargan/classifier/test/best."""
    return "/".join((record["protocol"], record["extractor"]["name"], record["split"], record["checkpoint"]))


def keep(run: Path, record: Record) -> None:
    """Write a record into the run's `scores.json`, in place of an older one of the same key; the others stay as they are.

    Several processes may do so at once. A file that cannot be read, damaged or of another format, is moved aside, and that is
    said.
    """
    file = run / FILE
    with locked(run / "samples", wait=True):
        records = read_scores(file)
        if file.exists() and not records:
            aside = next(p for n in count(1) if not (p := run / f"scores.old_{n}.json").exists())
            file.rename(aside)
            print(f"{file} is damaged, or of another version: it is now {aside.name}, and the scores start anew")
        write_json(file, {"format": FORMAT, "protocols": records | {key(record): record}})


def why_not_comparable(first: Record, second: Record) -> str | None:
    """Say why the numbers of two records must not be compared; None where they may be.

    Numbers depend on the protocol with all its parameters, on the weights of extractor and classifier, and on the pictures.
    """
    for what in ("protocol", "version", "split", "precision"):
        if first[what] != second[what]:
            return f"{what} {first[what]} and {second[what]}"
    ours, theirs = first["extractor"], second["extractor"]
    if (ours["name"], ours["digest"]) != (theirs["name"], theirs["digest"]):
        return f"extractor {ours['name']} {ours['digest']} and {theirs['name']} {theirs['digest']}"
    judges = [(record.get("classifier") or {}).get("digest") for record in (first, second)]
    if judges[0] != judges[1]:
        return f"classifier {judges[0]} and {judges[1]}"
    for name in sorted({*first["parameters"], *second["parameters"]}):
        values = [record["parameters"].get(name) for record in (first, second)]
        if values[0] != values[1]:
            return f"{name} {values[0]} and {values[1]}"
    return "other pictures" if first["data"] != second["data"] else None


def metric_title(metric: str, record: Record) -> str:
    """Return a metric's name for a reader: `fid` and `kid` alone are Inception's, those of other features name the extractor.

    Args:
        metric: a name in the record, a mode may follow it: `fid`, `kid spread, latent`.
    """
    extractor = record["extractor"]["name"]
    plain, comma, mode = metric.partition(", ")
    inception = extractor == "inception" or plain not in ("fid", "kid", "kid spread")
    return metric if inception else f"{plain} ({extractor}){comma}{mode}"
