"""Translate files and folders in batches, while other threads decode and encode."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import MofNCompleteColumn, Progress
from torch import Tensor

from asterism import malloc
from asterism.config import ConfigError
from asterism.console import make_console
from asterism.data.listing import some
from asterism.data.pictures import PictureError, PictureFormat, write
from asterism.inference.difference import difference, figure
from asterism.inference.full_files import TIFF, translate_full
from asterism.inference.images import Picture, attention_back, enlarged, open_file, open_masks, to_array
from asterism.inference.inputs import find_instances as find_instances
from asterism.inference.inputs import find_masks, of_several_frames, result_path
from asterism.inference.inputs import find_pictures as find_pictures
from asterism.inference.kept import Kept, kept_of_file, write_kept
from asterism.inference.outcome import CLIPPED, beyond, unwritable
from asterism.inference.outcome import FolderError as FolderError
from asterism.inference.outcome import Summary as Summary
from asterism.inference.regions import Regions, translate_region_files
from asterism.inference.side_by_side import side_by_side
from asterism.inference.source_labels import stated
from asterism.inference.styles import Target
from asterism.inference.target_words import Edit
from asterism.inference.tiling import Tiling
from asterism.inference.translator import Translator
from asterism.inference.video import VIDEOS, translate_videos
from asterism.tables.names import SUFFIXES


def translate_folder(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    to: Sequence[str | Mapping[str, Any] | tuple[Edit, ...]],
    out: str | os.PathLike[str],
    *,
    fit: str = "letterbox",
    labels: str | Mapping[str, Any] | None = None,
    batch_size: int = 16,
    format: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    progress: bool = False,
    styles: Sequence[int] = (),
    like: Sequence[str | os.PathLike[str]] = (),
    truncation: float = 1.0,
    strength: float = 1.0,
    source: str | None = None,
    masks: Sequence[str | os.PathLike[str]] = (),
    instances: str | os.PathLike[str] | None = None,
    changes: float | None = None,
    attention: bool = False,
    tile: int | None = None,
    overlap: int | None = None,
    regions: Regions = (),
    frames: str = "first",
) -> Summary:
    """Translate picture files, and all that folders hold, to one or more targets.

    Writes `<path below the input folder, without suffix>__<target>.png` for every picture and target. Everything that
    can be known is checked before the first picture is translated; each file is written whole or not at all.

    Args:
        inputs: picture files and folders; folders are searched through.
        to: the targets; each in the forms that `Translator.translate` takes, or parsed.
        out: folder for the results; or, where one picture is translated to one target, the result's file.
        fit, tile, overlap, batch_size: as for `Translator.translate`. With fit `full`, TIFFs are read and written some rows at
            a time, and their results are TIFFs with their georeference unless `format` says otherwise.
        labels: what all the pictures have in common, as for `Translator.translate`.
        format: suffix of the files (.png .jpg .webp .tif .npy); none takes .png, .tif for what PNG cannot hold, or .npy for
            features.
        overwrite: replace files that are there.
        skip_existing: leave files that are there as they are, and make those that are missing.
        progress: draw a progress bar, on a terminal; with fit `full`, say how each picture is translated.
        styles, like: for recipes with styles: seeds and reference pictures; every target comes in each of them, written to
            `..._<target>-style7.png` and `..._<target>-like-<reference>.png`.
        truncation, strength, source: as for `Translator.translate`.
        masks: for models that carry edges over by masks: a folder of masks with the pictures' relative names, or one for the
            coarsest skip and one for the others.
        instances: for models of label maps with instances: the folder of instance maps with the label maps' relative names.
        changes: also write `..._<target>-changes.png`, a figure of what the translation changes; the change, as a share of
            the value range, that it draws in full colour.
        regions: translate only these parts of each picture, as for `translate_regions`; the rest stays as it is.
        frames: `all` translates every frame of a GIF, APNG or WebP, `first` its first. Videos are always translated as a whole.
        attention: also write `..._<target>-mask.png`, how much of each pixel is painted anew, from black to white.

    Raises:
        FolderError: no such input, no picture in it, two results of one name, results that are there already, or a disk
            that is full.
        LabelError, ModelError: as for `Translator.translate`.
    """
    if changes is not None and not 0 < changes <= 1:
        raise ConfigError(
            f"the change in full colour is {changes:.0%} of the value range; expected more than 0 and at most 100 %"
        )
    translator.model.require("translates")
    if attention:
        translator.model.require("attends")
    out, picture = Path(out), translator.model.picture
    if changes is not None and picture.source:
        raise ConfigError("this model makes pictures of another kind than it takes: there are no changes to draw")
    shared: dict[str, Any] = {"truncation": truncation, "strength": strength, "source": source, "fit": fit}
    looks = [(f"-style{seed}", translator.style(seed=seed, **shared)) for seed in styles]
    looks += [(f"-like-{Path(reference).stem}", translator.style(like=reference, **shared)) for reference in like]
    looks = looks or [("", translator.style(**shared))]
    parsed = [target if isinstance(target, tuple) else translator.parse(target) for target in to]
    targets = [Target(edits, look, strength) for edits in parsed for _, look in looks]
    names = ["+".join(edit.name for edit in edits) + ending for edits in parsed for ending, _ in looks]
    passed, given = list[str](), [Path(i) for i in inputs]
    films = [path for path in given if path.suffix.lower() in VIDEOS and path.is_file()]
    pictures = [path for path in given if path not in films]
    sources = find_pictures(pictures, out, passed) if pictures else []
    several = of_several_frames([path for path, _ in sources])
    summary = Summary(beyond=beyond_learnt(targets), passed=passed, size=(picture.width, picture.height))
    if frames == "all":
        films += several
        sources = [(path, name) for path, name in sources if path not in several]
    elif several:
        summary.notes.append(
            some(
                [f"{path} {count}" for path, count in several.items()], "pictures of several frames, of which the first is read"
            )
        )
    if films:
        told: dict[str, Any] = {"labels": labels, "fit": fit, "batch_size": batch_size, "overwrite": overwrite}
        by_name = dict(zip(names, targets, strict=True))
        translate_videos(translator, films, by_name, out, summary, skip_existing=skip_existing, **told)
        if not sources:
            return summary
    alone = _like_a_file(out) and len(sources) == len(names) == 1 and format in (None, out.suffix)
    alone = alone and out.resolve() != sources[0][0].resolve()  # A result never takes its source's place.
    usual = suffix_for(picture, out.suffix if alone else format)
    own_kind = fit == "full" and not alone and format is None and picture.depth < 32
    suffixes = [".tif" if own_kind and path.suffix.lower() in TIFF else usual for path, _ in sources]
    named = list(zip((name for _, name in sources), suffixes, strict=True))
    results = [[result_path(out, name, f"__{target}{suffix}") for target in names] for name, suffix in named]
    figures = [[result_path(out, name, f"__{target}-changes.png") for target in names] for name, _ in named]
    maps = [[result_path(out, name, f"__{target}-mask.png") for target in names] for name, _ in named]
    if alone:
        figures, maps = [[out.with_name(f"{out.stem}-changes.png")]], [[out.with_name(f"{out.stem}-mask.png")]]
        results, out = [[out]], out.parent
    masked = find_masks(translator, [Path(m) for m in masks], [name for _, name in sources])
    instance_maps = find_instances(picture, instances, sources)
    if attention:
        targets += [replace(target, attention=True) for target in targets]
    written = [results, *([figures] if changes is not None else []), *([maps] if attention else [])]
    expected = [[path for paths in rows for path in paths] for rows in zip(*written, strict=True)]
    check_results([path for path, _ in sources], expected, out, overwrite or skip_existing)
    (own,) = stated(translator.model.space, labels, 1)

    if regions:
        if attention or masked or instances or changes is not None or fit != "letterbox":
            raise ConfigError("regions go with neither masks, instance maps, --mask, --diff nor --fit")
        paths = [path for path, _ in sources]
        options: dict[str, Any] = {"batch_size": batch_size, "skip_existing": skip_existing}
        translate_region_files(translator, paths, results, targets, own, regions, summary, **options)
        return summary
    if fit == "full":
        if attention:
            raise ConfigError("fit full draws no attention: take fit letterbox or crop")
        translate_full(
            translator,
            [path for path, _ in sources],
            results,
            targets,
            own,
            Tiling(tile, overlap),
            summary,
            masks=masked,
            instances=instance_maps,
            figures=figures if changes is not None else (),
            changes=changes or 1.0,
            batch_size=batch_size,
            skip_existing=skip_existing,
            progress=progress,
        )
        return summary
    if tile is not None or overlap is not None:
        raise ConfigError(f"tiles are for fit full: pictures are brought to the model's size by fit {fit}")
    there = {path for paths in results for path in paths if skip_existing and path.exists()}
    missing = [i for i, paths in enumerate(results) if not there.issuperset(paths)]
    sources, results, figures, maps, instance_maps = (  # type: ignore[assignment]
        [held[i] for i in missing] for held in (sources, results, figures, maps, instance_maps)
    )
    masked = [masked[i] for i in missing] if masked else []
    summary.kept += sorted(there)
    inside: deque[int] = deque()  # Which pictures the translator holds, in its order.
    threads = min(8, os.cpu_count() or 1)
    bar = Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=make_console(stderr=True),
        disable=not (progress and sys.stderr.isatty()),
    )
    with side_by_side(translator, targets, fit, batch_size, threads) as (pool, translated), malloc.kept(), bar:
        task = bar.add_task("translating", total=len(sources))

        def opened() -> Iterator[Picture]:
            open_one = partial(_open, translator=translator, fit=fit)
            given = [(path, ids) for (path, _), ids in zip(sources, instance_maps, strict=True)]
            for index, read in enumerate(_ahead(pool, open_one, given, batch_size + threads)):
                try:
                    opened_picture = read.result()
                    area = open_masks(masked[index], opened_picture.x.shape[1:]) if masked else None
                except PictureError as error:
                    summary.skipped.append((sources[index][0], str(error)))
                    continue
                taken = picture.taken
                if not taken.classes and (share := beyond(opened_picture.x.numpy(), taken.low, taken.high)) > CLIPPED:
                    summary.clipped.append((sources[index][0], share))
                height, width = opened_picture.x.shape[1:]
                if not translator.recipe.abilities.keeps and enlarged(height, width, picture, fit):
                    summary.enlarged.append(sources[index][0])
                inside.append(index)
                yield replace(opened_picture, labels=own, masks=area)

        writing: deque[tuple[Path, Future[None]]] = deque()
        for done, (opened_source, translations, back) in enumerate(translated(opened()), 1):
            index = inside.popleft()
            kept = pool.submit(kept_of_file, sources[index][0])  # Begun before what waits for it.
            for path, y in zip(results[index], translations, strict=False):
                if path not in there:
                    writing.append((path, pool.submit(_write, path, y, back, picture, kept)))
            for path, y in zip(maps[index] if attention else [], translations[len(names) :], strict=True):
                writing.append((path, pool.submit(_write_attention, path, y, back)))
            if changes is not None:
                for path, y in zip(figures[index], translations, strict=False):
                    drawing = pool.submit(_write_changes, path, opened_source, y, back, translator, fit, changes)
                    writing.append((path, drawing))
            while len(writing) > 4 * threads:
                _finish(writing, summary)
            bar.update(task, completed=done + len(summary.skipped))
        while writing:
            _finish(writing, summary)
        bar.update(task, completed=len(sources))
    return summary


def beyond_learnt(targets: Sequence[Target]) -> str:
    """Return what the user should know of the targets' strengths; empty where all were learnt."""
    return next((target.beyond for target in targets if target.beyond), "")


def suffix_for(picture: PictureFormat, format: str | None) -> str:
    """Return the suffix of a model's pictures as files: the one that is asked for, or one that holds them.

    Raises:
        FolderError: it cannot hold them.
    """
    wide = picture.channels > 4 or (picture.depth == 16 and picture.channels > 1)
    if format is None and picture.depth == 32:
        return ".npy"
    if format is None:
        return ".tif" if wide else ".png"
    suffix = f".{format.lower().removeprefix('.')}"
    able: tuple[str, ...] = (".tif", ".tiff", ".npy") if wide else (".png", ".tif", ".tiff", ".npy")
    able += (".jpg", ".jpeg", ".webp") if picture.depth == 8 and not wide else ()
    able = (".npy",) if picture.depth == 32 else able
    if suffix not in (*able, ".jpg", ".jpeg", ".webp", ".png", ".tif", ".tiff", ".npy"):
        raise FolderError(f"results are not written as {suffix}; use one of {' '.join(able)}")
    if suffix not in able:
        raise FolderError(
            f"{suffix} cannot hold {picture.channels} channels of {picture.depth} bits; use one of {' '.join(able)}"
        )
    return suffix


def _like_a_file(out: Path) -> bool:
    return out.suffix.lower() in (*SUFFIXES, ".gif", ".mp4") and not out.is_dir()


def check_results(sources: Sequence[Path], results: Sequence[Sequence[Path]], out: Path, overwrite: bool) -> None:
    """Raise FolderError when two results share a name, one is there already, or `out` is no folder or not named like one."""
    owner: dict[str, Path] = {}
    for source, paths in zip(sources, results, strict=True):
        for path in paths:
            key = str(path).casefold()  # Some file systems do not tell cases apart.
            if key in owner:
                what = f"{owner[key]} and {source}" if owner[key] != source else f"two targets of {source}"
                raise FolderError(
                    f"{what} would both be written to {path}: rename one, or translate them into folders of their own"
                )
            owner[key] = source
    if out.exists() and not out.is_dir():
        raise FolderError(f"{out} is a file; name a folder for the results")
    if _like_a_file(out):
        raise FolderError(f"{out} looks like a file; --out must be a folder unless there is one picture and one target")
    there = [str(path) for paths in results for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        raise FolderError(
            f"{', '.join(there[:3])}{more} would be replaced: give another --out, or say --overwrite or --skip-existing"
        )


def _open(files: tuple[Path, Path | None], translator: Translator, fit: str) -> Picture:
    """Decode a file, with its instance map if there is one, and bring it to the model's size."""
    opened = open_file(files[0], translator.model.picture, files[1])
    return replace(opened, fitted=translator.fitted(opened, fit))


def _ahead(
    pool: ThreadPoolExecutor,
    open_one: Callable[[tuple[Path, Path | None]], Picture],
    paths: Sequence[tuple[Path, Path | None]],
    count: int,
) -> Iterator[Future[Picture]]:
    """Open files in order, `count` of them ahead of the caller."""
    reading: deque[Future[Picture]] = deque()
    for path in paths:
        reading.append(pool.submit(open_one, path))
        if len(reading) > count:
            yield reading.popleft()
    yield from reading


def _write(path: Path, y: Tensor, back: Callable[[Tensor], Tensor], picture: PictureFormat, kept: Future[Kept]) -> None:
    """Bring a translation back to its picture's size, encode and write it with what it keeps of its source."""
    write_kept(path, to_array(back(y)[0], picture), kept.result())


def _write_attention(path: Path, y: Tensor, back: Callable[[Tensor], Tensor]) -> None:
    """Bring an attention to its picture's size and write it as a grey picture of 8 bits."""
    write(path, (255 * attention_back(back)(y)[0, :1].clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy())


def _write_changes(
    path: Path, source: Picture, y: Tensor, back: Callable[[Tensor], Tensor], translator: Translator, fit: str, full: float
) -> None:
    """Compare with what the model saw, at the picture's size: what resampling alone blurs is no change."""
    x, back_here = translator.fitted(source, fit, torch.device("cpu"))
    change = difference(back_here(x)[0], back(y)[0].cpu())
    drawn = figure(source.x.permute(1, 2, 0).numpy(), change, translator.model.picture, full)
    write(path, np.asarray(drawn))


def _finish(writing: deque[tuple[Path, Future[None]]], summary: Summary) -> None:
    """Wait for the oldest of the files being written."""
    path, future = writing.popleft()
    try:
        future.result()
    except OSError as error:
        raise unwritable(path, error) from error
    summary.written.append(path)
