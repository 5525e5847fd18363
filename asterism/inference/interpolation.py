"""Translate pictures in styles between given styles, in growing strength, or to one target after the other.

Written as strips, GIFs, videos or frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from asterism.config import ConfigError
from asterism.data.pictures import PictureError
from asterism.data.values import clipped
from asterism.inference.apply import translate_each
from asterism.inference.folder import Summary, beyond_learnt, check_results, find_pictures
from asterism.inference.images import Picture, open_file, to_array
from asterism.inference.sequence import ENDINGS, check_kind, write_sequence
from asterism.inference.source_labels import stated
from asterism.inference.styles import StyleSource, Target, line
from asterism.inference.target_words import Edit
from asterism.inference.translator import Translator


def interpolate_files(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    to: str | Mapping[str, Any],
    looks: Sequence[StyleSource],
    out: str | os.PathLike[str],
    *,
    kind: str = "strip",
    steps: int = 8,
    strengths: Sequence[float] = (),
    side: int | None = None,
    fps: float = 12,
    fit: str = "letterbox",
    labels: str | Mapping[str, Any] | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write, for every picture, its translations on the way through some styles, or strengths, one after the other.

    Writes `<path below the input folder, without suffix>__<target>-styles`, or `-strengths`, with the kind's ending.

    Args:
        inputs: picture files and folders; folders are searched through.
        to: the target, as for `Translator.translate`.
        looks: two or more, in order, from `Translator.style` and `between`; none with strengths.
        out: folder for the results.
        kind: `strip` (a PNG row, the source first), `gif`, `mp4`, or `frames` (a folder of pictures).
        steps: from each style to the next.
        strengths: for recipes that are told a strength: one picture each, in order.
        side: longest side of what is drawn, in pixels; none: the picture's own, for a strip 256.
        fps: frames per second, of gif and mp4.
        fit, labels, batch_size, overwrite: as for `translate_folder`.

    Raises:
        ConfigError: fewer than two styles, no step, an unknown kind, or a video without the extra that writes it.
        FolderError, LabelError, ModelError: as for `translate_folder`.
    """
    translator.check_strengths(strengths)
    by_strength = translator.recipe.abilities.by_strength
    if not strengths and not by_strength:
        translator.check_styled()
    if not strengths and (len(looks) < 2 or steps < 1):
        what = "strengths, or two or more styles" if by_strength else "two or more styles"
        raise ConfigError(f"interpolation takes {what} and at least one step; given {len(looks)} styles and {steps} steps")
    edits, way = translator.parse(to), [] if strengths else line(looks, steps)
    targets = [Target(edits, None, strength) for strength in strengths]

    def grown(opened: Picture) -> Iterator[Tensor]:
        return (y for _, row in translator.stream([opened], targets, fit=fit) for y in row)

    return _write_each(
        translator,
        inputs,
        out,
        "+".join(edit.name for edit in edits) + ("-strengths" if strengths else "-styles"),
        grown if strengths else lambda opened: translator.in_each(opened, edits, way, fit=fit, batch_size=batch_size),
        beyond=beyond_learnt(targets),
        kind=kind,
        side=side,
        fps=fps,
        labels=labels,
        overwrite=overwrite,
    )


def film_files(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    frames: Sequence[tuple[Edit, ...]],
    name: str,
    out: str | os.PathLike[str],
    *,
    kind: str = "gif",
    side: int | None = None,
    fps: float = 12,
    fit: str = "letterbox",
    labels: str | Mapping[str, Any] | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write, for every picture, its translations to one target after the other; arguments as for `interpolate_files`.

    Args:
        frames: the targets, as `Translator.parse` returns them.
        name: of the film: results are called `<path below the input folder, without suffix>__<name>`.
    """

    def film(opened: Picture) -> Iterator[Tensor]:
        x, back = translator.fitted(opened, fit)
        for first in range(0, len(frames), batch_size):
            targets = [Target(edits) for edits in frames[first : first + batch_size]]
            count = len(targets)
            made = translate_each(translator, x.expand(count, -1, -1, -1), targets, [opened.labels] * count)
            yield from (clipped(back(y[None])[0], translator.model.picture) for y in made)

    return _write_each(translator, inputs, out, name, film, kind=kind, side=side, fps=fps, labels=labels, overwrite=overwrite)


def _write_each(
    translator: Translator,
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    name: str,
    make: Callable[[Picture], Iterator[Tensor]],
    *,
    kind: str,
    side: int | None,
    fps: float,
    labels: str | Mapping[str, Any] | None,
    overwrite: bool,
    beyond: str = "",
) -> Summary:
    """Write the sequence that `make` makes of every picture."""
    check_kind(kind, fps)
    if side is not None and side < 1:
        raise ConfigError(f"the longest side is {side} pixels; expected at least 1")
    out, picture = Path(out), translator.model.picture
    (own,) = stated(translator.model.space, labels, 1)
    sources = find_pictures([Path(i) for i in inputs], out)
    results = [out / f"{source}__{name}{ENDINGS[kind]}" for _, source in sources]
    check_results([path for path, _ in sources], [[path] for path in results], out, overwrite)
    summary = Summary(beyond=beyond)
    for (path, _), result in zip(sources, results, strict=True):
        try:
            opened = replace(open_file(path, picture), labels=own)
        except PictureError as error:
            summary.skipped.append((path, str(error)))
            continue
        frames = (to_array(y, picture) for y in make(opened))
        source = opened.x.permute(1, 2, 0).numpy()
        summary.written += write_sequence(result, frames, picture, kind, side=side, fps=fps, first=source)
    return summary
