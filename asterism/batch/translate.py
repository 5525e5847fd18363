"""The job of `asterism translate --engine ray`: pictures here or in a store, over all that a Ray cluster has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asterism.batch.engine import RETRIES, cluster, mapped
from asterism.batch.files import found_pictures, is_film
from asterism.batch.manifest import Manifest
from asterism.batch.pieces import Item, fetch, packed, put
from asterism.batch.stores import Place, is_remote
from asterism.batch.worker import Job, Worker
from asterism.inference.folder import suffix_for
from asterism.inference.generator import check_batch_size
from asterism.inference.outcome import FolderError, Summary
from asterism.inference.translator import load
from asterism.recipes import files_outside
from asterism.signals import on_signal

BATCHES = 4
"""Batches of a piece of work, while which a worker reads the next pictures and writes the last."""

PIECES = 20_000
"""Pieces at most, of which Ray keeps count; where there are more pictures, pieces are larger."""

PIECE_BYTES = 2**28
"""Of the files of a piece, which go through Ray's memory where they come from a store."""


def translate_on_ray(
    model: Path,
    inputs: Sequence[str],
    to: Sequence[Any],
    out: str,
    *,
    options: Mapping[str, Any],
    device: str = "auto",
    precision: str = "auto",
    address: str | None = None,
    cores: int = 1,
    max_errors: int | None = None,
) -> Summary:
    """Translate pictures on a Ray cluster, with the results that `translate_folder` would write.

    What is done is kept in a manifest beside the results: the same call goes on after an interruption, and does again what
    failed, what changed, and what is missing.

    Args:
        model: the model file.
        inputs: local files and folders, addresses of stores, and patterns; see `asterism.batch.files`.
        to, options: as for `translate_folder`; with `overwrite`, everything is done anew.
        out: folder for the results, local or of a store.
        device, precision: as for `load`, in each worker.
        address: of a Ray cluster, whose machines read the same local paths; none starts Ray here.
        cores: of each worker, where there is no GPU for it.
        max_errors: pictures that may fail before the job is given up.

    Raises:
        ConfigError: Ray is not installed or not there, or options that do not go with it.
        FolderError: as `translate_folder`; more pictures failed than may, with those that did.
        LabelError, ModelError: as `Translator.translate`.
    """
    options = dict(options)
    anew, beside = options.pop("overwrite", False), options.get("skip_existing", False)
    check_batch_size(options["batch_size"])
    place = Place(out)
    if place.remote and beside:
        raise FolderError(
            "--skip-existing looks into local folders; with --engine ray a manifest says what is done: leave it out"
        )
    checked = load(model, "cpu", "float32")  # A slip is found before Ray starts.
    checked.model.require("translates")
    for target in to:
        checked.parse(target)
    suffix_for(checked.model.picture, options.get("format"))
    del checked
    summary = Summary()
    found = found_pictures(inputs, out, summary.passed)
    items = [Item(source, name, state, is_film(source)) for source, (name, state) in found.items()]
    content = model.read_bytes()
    facts = {"model": hashlib.sha256(content).hexdigest()[:16], "to": _said(to), "precision": precision}
    facts |= {key: _said(value) for key, value in options.items() if key not in ("batch_size", "skip_existing")}
    manifest = Manifest(place, facts, anew=anew, beside=beside)
    rest = [item for item in items if not manifest.has(item.source, item.state)]
    done_before = len(items) - len(rest)
    if done_before:
        summary.notes.append(f"done before, by the manifest: {done_before} of {len(items)} sources")
    if not rest:
        return summary
    kept = f"what is done is kept in {place.address}; run the same command to do the rest"
    with cluster(address) as ray, on_signal(kept):  # In this order: Ray has handlers of its own.
        options = {key: _absolute(value) for key, value in options.items()}
        job = Job(
            to, place.address, options, ray.put(content), device, precision, cores, [str(path) for path in files_outside()]
        )
        rows = list(pieces(rest, options["batch_size"]))
        reading = fetch if any(is_remote(item.source) for item in rest) else None
        told = set[str]()
        try:
            for row in mapped(ray, rows, Worker, [job], device, cores, reading, put if place.remote else None):
                told |= _note(json.loads(row["done"]), summary, manifest, place)
                _check_errors(summary, max_errors, kept)
        finally:
            manifest.flush()
    lost = [item.source for item in rest if item.source not in told]
    summary.skipped += [(source, f"its worker was lost {RETRIES + 1} times while it was in work") for source in lost]
    _check_errors(summary, max_errors, kept)
    return summary


def _note(done: dict[str, Any], summary: Summary, manifest: Manifest, place: Place) -> set[str]:
    """Note what a worker did in the summary and the manifest; return the sources that it tells of."""
    for source, state, results in done["sources"]:
        manifest.add(source, state, results)
        summary.written += [Path(name) if place.remote else Path(place.address, name) for name in results]
    summary.skipped += done["failed"].items()
    summary.clipped += [(source, share) for source, share in done["clipped"]]
    summary.notes += done["notes"]
    summary.beyond = summary.beyond or done["beyond"]
    return {source for source, _, _ in done["sources"]} | done["failed"].keys()


def _check_errors(summary: Summary, most: int | None, kept: str) -> None:
    if most is not None and len(summary.skipped) > most:
        raise FolderError(f"more than {most} sources failed, so the job was given up; {kept}; the last are:\n{summary}")


def pieces(items: Sequence[Item], batch_size: int) -> Iterator[str]:
    """Yield pieces of work in the order of the items: some whole batches each, so that batches are those of one machine."""
    count = batch_size * max(BATCHES, -(-len(items) // (batch_size * PIECES)))
    piece, size = list[Item](), 0
    for item in items:
        own = int(item.state.partition("-")[0])
        full = len(piece) == count or (len(piece) % batch_size == 0 and size + own > PIECE_BYTES)
        if piece and (item.film or piece[-1].film or full):
            yield packed(piece)
            piece, size = [], 0
        piece, size = [*piece, item], size + own
    if piece:
        yield packed(piece)


def _said(value: Any) -> Any:
    """Return an option as JSON holds it, to compare with that of the same job later."""
    return json.loads(json.dumps(value, default=str))


def _absolute(value: Any) -> Any:
    """Return an option with its paths made absolute, since workers have another working folder."""
    if isinstance(value, list | tuple):
        return [_absolute(each) for each in value]
    return value.absolute() if isinstance(value, Path) else value
