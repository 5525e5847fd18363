"""The pictures: sheets that training and evaluation left, embedded."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from asterism.runs.folder import Run, Sheet

MOMENTS = 6  # Previews shown of one run, evenly chosen over it; of several runs the last of each.
WIDEST = 2400  # Pixels; a wider sheet is reduced, or the page would be too large to pass on.


@dataclass(frozen=True)
class Figure:
    """A sheet as the page shows it.

    Args:
        address: the picture as a `data:` address.
        run: number of its run, none where the page is on one run.
        record: the record of scores that it belongs to, where its run has several.
        sounds: names and `data:` addresses of recordings.
    """

    sheet: Sheet
    address: str
    width: int
    height: int
    run: int | None
    record: str
    sounds: tuple[tuple[str, str], ...] = ()


def previews(runs: Sequence[Run]) -> dict[str, Any]:
    """Return how the same pictures changed as training went on; of several runs, how they ended."""
    pictures, when = "Validation pictures", "at the end of each run"
    chosen = [(i, run.previews[-1], "") for i, run in enumerate(runs) if run.previews]
    if len(runs) == 1:
        pictures, when = "The same validation pictures", "as training went on"
        held = runs[0].previews
        count = min(MOMENTS, len(held))
        chosen = [(0, held[round(i * (len(held) - 1) / max(1, count - 1))], "") for i in range(count)]
    told = f"{pictures}, left, and what the averaged weights made of them {when}."
    return _section({"": chosen}, runs, told, without_sources=f"What the averaged weights made {when}.")


def cases(runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sheets of held-out pictures, and the others that evaluations left, such as the worst cases, by their title.

    Two records of one run may have drawn the same sheet, which then stands here once.
    """
    groups: dict[str, list[tuple[int, Sheet, str]]] = {"": []}
    for number, run in enumerate(runs):
        drawn: set[bytes] = set()
        for name, sheets in run.cases.items():
            for sheet in sheets:
                digest = hashlib.sha256(sheet.file.read_bytes()).digest()
                if digest not in drawn:
                    is_held_out = sheet.file.stem == "held_out"
                    of = name.replace("/", " · ") if len(run.scores) > 1 and not is_held_out else ""
                    groups.setdefault("" if is_held_out else sheet.title, []).append((number, sheet, of))
                drawn.add(digest)
    held_out = {"": groups.pop("")}
    return _section(held_out, runs, "Pictures that training has not seen, and their translations."), _section(groups, runs)


def _section(
    sheets: dict[str, list[tuple[int, Sheet, str]]], runs: Sequence[Run], lead: str = "", without_sources: str = ""
) -> dict[str, Any]:
    """Return `lead` and `groups` (title, figures) of the sheets that are not damaged; nothing if all are."""
    made = {title: list(_figures(named, len(runs) > 1)) for title, named in sheets.items()}
    groups = [(title[:1].upper() + title[1:], figures) for title, figures in made.items() if figures]
    sources = any("source" in figure.sheet.columns for _, figures in groups for figure in figures)
    return {"lead": lead if sources else without_sources, "groups": groups} if groups else {}


def _figures(sheets: Iterable[tuple[int, Sheet, str]], several: bool) -> Iterable[Figure]:
    for number, sheet, record in sheets:
        try:
            with Image.open(sheet.file) as opened:
                picture = opened.convert("RGB")
        except Exception:  # A damaged file surfaces as many kinds of error.
            continue
        if picture.width > WIDEST:
            picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=92, subsampling=0)  # Colour at full resolution: it is what the edits change.
        address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
        sounds = ((name, base64.b64encode(file.read_bytes()).decode("ascii")) for name, file in sheet.sounds)
        heard = tuple((name, f"data:audio/wav;base64,{text}") for name, text in sounds)
        yield Figure(sheet, address, picture.width, picture.height, number if several else None, record, heard)
