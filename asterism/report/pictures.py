"""The pictures: sheets that training and evaluation left, embedded."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from asterism.report.markup import Html, join, section, swatch, tag
from asterism.storage.run_folder import Run, Sheet

MOMENTS = 6  # Previews shown of one run, evenly chosen over it; of several runs the last of each.
WIDEST = 2400  # Pixels; a wider sheet is reduced, or the page would be too large to pass on.


def previews(runs: Sequence[Run]) -> Html:
    """Return the same validation pictures as training went on."""
    if len(runs) > 1:
        lead = "Validation pictures, left, and what the averaged weights made of them at the end of each run."
        shown = [_figure(run.previews[-1], swatch(i, runs)) for i, run in enumerate(runs) if run.previews]
    else:
        lead = "The same validation pictures, left, and what the averaged weights made of them as training went on."
        all_ = runs[0].previews
        count = min(MOMENTS, len(all_))
        shown = [_figure(all_[round(i * (len(all_) - 1) / max(1, count - 1))]) for i in range(count)]
    return section("previews", "Previews", lead, _beside(shown))


def cases(runs: Sequence[Run]) -> tuple[Html, Html]:
    """Return two sections: the sheets of held-out pictures, and the others that evaluations left, such as the worst cases.

    Two records of one run may have drawn the same sheet, which then stands here once.
    """
    held_out: list[Html] = []
    others: dict[str, list[Html]] = {}
    for number, run in enumerate(runs):
        drawn: set[bytes] = set()
        for name, sheets in run.cases.items():
            for sheet in sheets:
                digest = hashlib.sha256(sheet.file.read_bytes()).digest()
                if digest in drawn:
                    continue
                drawn.add(digest)
                whose = [swatch(number, runs)] if len(runs) > 1 else []
                if sheet.file.stem == "held_out":
                    held_out.append(_figure(sheet, *whose))
                    continue
                of = [tag("span", _protocol(name), class_="soft")] if len(run.scores) > 1 else []
                others.setdefault(sheet.title, []).append(_figure(sheet, *whose, *of))
    lead = "Pictures that training has not seen, and their translations."
    rest = [
        tag("div", tag("h3", title[:1].upper() + title[1:]), _beside(figures), class_="case")
        for title, figures in others.items()
        if any(figures)
    ]
    ranked = tag("div", *rest, class_="cases") if rest else Html()
    return section("held-out", "Held-out pictures", lead, _beside(held_out)), section("cases", "Cases", "", ranked)


def _protocol(record: str) -> str:
    return " · ".join(record.split("/"))


def _beside(figures: Sequence[Html]) -> Html:
    return tag("div", join(filter(None, figures)), class_="sheets") if any(figures) else Html()


def _figure(sheet: Sheet, *heading: Html) -> Html:
    """Return a sheet as a figure; nothing where its file is damaged."""
    try:
        picture = _opened(sheet.file)
    except Exception:  # A damaged file surfaces as many kinds of error.
        return Html()
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, subsampling=0)  # Colour at full resolution: it is what the edits change.
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    look: dict[str, object] = {"columns": len(sheet.columns), "longest": max(map(len, sheet.columns), default=0)}
    look |= {"width": f"{picture.width * 1.5:.0f}px", "shape": f"{picture.width / picture.height:.3f}"}
    style = ";".join(f"--{name}:{value}" for name, value in look.items())
    return tag(
        "figure",
        *([tag("p", *heading, class_="heading")] if heading else []),
        tag("div", *(tag("span", title) for title in sheet.columns), class_="titles", aria_hidden="true"),
        tag(
            "img",
            src=f"data:image/jpeg;base64,{coded}",
            alt=f"{sheet.caption}; columns: {', '.join(sheet.columns)}",
            width=picture.width,
            height=picture.height,
        ),
        tag("figcaption", sheet.caption),
        class_="sheet",
        style=style,
    )


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    return picture
