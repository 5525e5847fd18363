"""Translate picture files at their own resolution, one after another; TIFFs of any size in bounded memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.data.arrays import STORED
from asterism.data.pictures import PictureError, PictureFormat, to_float, write
from asterism.inference.difference import difference, figure
from asterism.inference.images import Picture, open_file, open_masks, to_array
from asterism.inference.kept import kept_of_file, write_kept
from asterism.inference.outcome import CLIPPED, FolderError, Summary, beyond, unwritable
from asterism.inference.styles import Target
from asterism.inference.tiff_rows import TiffRows, Unstreamable, write_tiff
from asterism.inference.tiles import Source, Steps, prepare, translate_rows
from asterism.inference.tiling import Plan, Tiling, plan
from asterism.inference.translator import Translator
from asterism.storage.whole import writing
from asterism.terminal import counting

TIFF = (".tif", ".tiff")

MOST_DRAWN = 2**26
"""Pixels of a picture of whose changes a figure is drawn."""


def translate_full(
    translator: Translator,
    sources: Sequence[Path],
    results: Sequence[Sequence[Path]],
    targets: Sequence[Target],
    labels: Mapping[int, float],
    tiling: Tiling,
    summary: Summary,
    *,
    masks: Sequence[Sequence[Path]] = (),
    instances: Sequence[Path | None] = (),
    figures: Sequence[Sequence[Path]] = (),
    changes: float = 1.0,
    batch_size: int = 16,
    skip_existing: bool = False,
    progress: bool = False,
) -> None:
    """Translate each source to every target and note in `summary` what was done; each file is written whole or not at all.

    Args:
        results: per source a file for each target.
        labels: what the pictures have in common.
        masks: per source its mask files, for models that take masks.
        instances: per source its instance map, for models that take these.
        figures: per source and target the file of a figure of the changes; empty: none are drawn.
        changes: as for `translate_folder`.
        skip_existing: leave results that are there as they are.
        progress: say on stderr what is chosen for a picture, and how many rows of tiles are done.

    Raises:
        FolderError: a result that cannot be written, or a picture too large for a figure.
        As for `tiles.prepare` and `tiling.plan`.
    """
    job = _Job(translator, summary, batch_size, progress, changes)
    said: Any = None
    for index, path in enumerate(sources):
        wanted = [i for i, result in enumerate(results[index]) if not (skip_existing and result.exists())]
        summary.kept += [result for i, result in enumerate(results[index]) if i not in wanted]
        if not wanted:
            continue
        with ExitStack() as stack:
            try:
                beside = instances[index] if instances else None
                source, rows, share = _open(stack, path, beside, translator.model.picture, bool(figures))
                if masks:
                    given = open_masks(masks[index], (source.height, source.width))
                    source = replace(source, masks=partial(_rows, given))
                source = replace(source, labels=labels)
                prepared = prepare(translator, source, [targets[i] for i in wanted])
                chosen = plan(translator, source.height, source.width, tiling, *prepared[0][0])
                if progress and said != (said := (chosen.tile, chosen.tops, chosen.lefts)):
                    print(f"{path.name}: {chosen}", file=sys.stderr, flush=True)
                for i, passes in zip(wanted, prepared, strict=True):
                    drawn = figures[index][i] if figures else None
                    _write(job, source, chosen, passes, results[index][i], rows, drawn, path)
            except PictureError as error:
                summary.skipped.append((path, str(error)))
                continue
            if share() > CLIPPED:
                summary.clipped.append((path, share()))


@dataclass(frozen=True)
class _Job:
    """What all results have in common; as for `translate_full`."""

    translator: Translator
    summary: Summary
    batch_size: int
    progress: bool
    changes: float


def _write(
    job: _Job, source: Source, chosen: Plan, passes: Steps, path: Path, like: TiffRows | None, drawn: Path | None, origin: Path
) -> None:
    """Translate a picture to one target and write the result, and the figure of its changes where one is wanted."""
    picture, made = job.translator.model.picture, list[Tensor]()
    telling: Any = counting(f"{path.name}, rows of tiles") if job.progress and not chosen.whole else nullcontext(_silent)
    with telling as tell:

        def stored() -> Iterator[np.ndarray]:
            for y in translate_rows(
                job.translator,
                source,
                chosen,
                passes,
                batch_size=job.batch_size,
                seams=job.summary.seams,
                tell=lambda done: tell(done, len(chosen.tops)),
            ):
                if drawn is not None:
                    made.append(y)
                yield to_array(y, picture)

        try:
            if path.suffix.lower() in TIFF:
                with writing(path) as partial:
                    shape = (source.height, source.width, picture.channels)
                    write_tiff(partial, stored(), shape, STORED[picture.depth], like)
            else:
                write_kept(path, np.concatenate(list(stored())), kept_of_file(origin))
            job.summary.written.append(path)
            if drawn is not None:
                x = source.read(0, source.height)
                write(drawn, np.asarray(_figure(x, torch.cat(made, 1), picture, job.changes)))
                job.summary.written.append(drawn)
        except OSError as error:
            raise unwritable(path, error) from error


def _rows(x: Tensor, top: int, bottom: int) -> Tensor:
    return x[:, top:bottom]


def _silent(done: int, total: int) -> None:
    pass


def _figure(x: Tensor, y: Tensor, picture: PictureFormat, changes: float) -> Any:
    return figure(x.permute(1, 2, 0).numpy(), difference(to_float(x[None], picture)[0], y), picture, changes)


def _open(
    stack: ExitStack, path: Path, instances: Path | None, picture: PictureFormat, whole: bool
) -> tuple[Source, TiffRows | None, Callable[[], float]]:
    """Open a picture, a TIFF for reading in parts unless it must be read whole, as with a map of instances.

    Returns:
        The source; of a TIFF that is read in parts the file, whose tags the results get; and what tells which share of the
        values read lies beyond the model's range.
    """
    if path.suffix.lower() not in TIFF:
        return _held(open_file(path, picture, instances), picture)
    try:
        rows = stack.enter_context(TiffRows(path, picture))
    except Unstreamable as reason:
        try:
            return _held(open_file(path, picture, instances), picture)
        except PictureError as error:
            raise PictureError(f"{error}; and it cannot be read in parts, since {reason}") from error
    except PictureError:
        raise
    except Exception:  # Whatever tifffile says of broken bytes: reading it whole tells more.
        return _held(open_file(path, picture, instances), picture)
    if picture.taken.channels == 2 and picture.taken.classes:
        source, _, share = _held(open_file(path, picture, instances), picture)
        return source, rows, share
    if whole and rows.height * rows.width > MOST_DRAWN:
        raise FolderError(
            f"{path} has {rows.width:,} x {rows.height:,} pixels; --diff draws at most {MOST_DRAWN:,}: leave it out"
        )
    counts = [0.0, 0.0]

    def read(top: int, bottom: int) -> Tensor:
        array = rows.read(top, bottom)
        counts[0] += _beyond(array, picture) * array.size
        counts[1] += array.size
        return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))

    return Source(rows.height, rows.width, read), rows, lambda: counts[0] / max(1.0, counts[1])


def _held(opened: Picture, picture: PictureFormat) -> tuple[Source, None, Callable[[], float]]:
    return Source.of(opened), None, lambda: _beyond(opened.x.numpy(), picture)


def _beyond(array: np.ndarray, picture: PictureFormat) -> float:
    """Return which share of the values read lies beyond those that the model takes; ids of label maps never do."""
    taken = picture.taken
    return 0.0 if taken.classes else beyond(array, taken.low, taken.high)
