"""What the studio page shows beside Gradio's controls, as HTML: results, strips, and what a model is.

Pictures stand in the page as data, so that showing them needs no file.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from asterism.data.pictures import PictureFormat, encode
from asterism.inference.sheets import to_shown
from asterism.serving.hosted import Hosted
from asterism.storage.run_folder import Sheet

HEAT = np.array([[22, 22, 28], [74, 32, 96], [186, 54, 85], [249, 142, 9], [252, 255, 190]], dtype=np.float64)
"""Colours of a difference, from none to half of the full scale and more."""

BRAND = """<div class="brand"><svg viewBox="0 0 24 24" aria-hidden="true"><path transform="translate(12 6)" d="M0-5V5M-4.3-2.5 \
4.3 2.5M-4.3 2.5 4.3-2.5"/><path transform="translate(5 18)" d="M0-5V5M-4.3-2.5 4.3 2.5M-4.3 2.5 4.3-2.5"/><path \
transform="translate(19 18)" d="M0-5V5M-4.3-2.5 4.3 2.5M-4.3 2.5 4.3-2.5"/></svg><b>asterism</b><span>studio</span>\
<a href="/api">API</a></div>"""

EMPTY = '<div class="empty">{}</div>'


def difference(change: np.ndarray, full: float) -> np.ndarray:
    """Return how much each pixel changed as colours, uint8 [H, W, 3].

    Args:
        change: int32 [H, W, C], not negative; the largest over the channels counts.
        full: the change that is the whole value range.
    """
    place = np.arange(change.max() + 1) / full * 2
    colours = np.stack([np.interp(place, np.linspace(0, 1, len(HEAT)), channel) for channel in HEAT.T], axis=1)
    return np.rint(colours).astype(np.uint8)[change.max(2)]


def as_data(array: np.ndarray, limit: int) -> str:
    """Return a picture, uint8 [H, W, 1 or 3], as a data address, made smaller to `limit` pixels on its longer side."""
    if max(array.shape[:2]) > limit:
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        image.thumbnail((limit, limit), Image.Resampling.LANCZOS)
        array = np.asarray(image)
        array = array[:, :, None] if array.ndim == 2 else array
    return "data:image/png;base64," + base64.b64encode(encode(array, ".png")).decode("ascii")


def figure(address: str, title: str, note: str = "", link: str = "") -> str:
    """Return one picture with its title."""
    said = f"<small>{html.escape(note)}</small>" if note else ""
    alt = html.escape(title, quote=True)
    return f'<figure><img src="{address}" alt="{alt}"><figcaption><b>{html.escape(title)}</b>{said}{link}</figcaption></figure>'


def triptych(source: np.ndarray, result: np.ndarray, picture: PictureFormat, title: str, link: str) -> str:
    """Return source and result, stored values [H, W, C], and their difference side by side."""
    change, full = np.abs(np.clip(source, picture.low, picture.high).astype(np.int32) - result), picture.high - picture.low
    share = float(change.mean() / full)
    note = f"mean {share:.1%}; dark: none, white: half the range or more"
    parts = (
        figure(as_data(to_shown(source, picture), 1024), "Source", f"{source.shape[1]} × {source.shape[0]}"),
        figure(as_data(to_shown(result, picture), 1024), title, link=link),
        figure(as_data(difference(change, full), 1024), "Difference", note),
    )
    return f'<div class="triptych">{"".join(parts)}</div>'


def as_sample(stored: np.ndarray, picture: PictureFormat) -> str:
    """Return a small picture of one, for a strip, as a data address."""
    return as_data(to_shown(stored, picture), 320)


def strip(samples: Sequence[tuple[str, str]]) -> str:
    """Return titles and small pictures as one strip."""
    return f'<div class="strip">{"".join(figure(sample, title) for title, sample in samples)}</div>'


def download(name: str, words: str) -> str:
    """Return a link that saves a file of the vault."""
    address = html.escape(f"/gradio_api/file={name}", quote=True)
    return f'<a class="save" href="{address}" download>{html.escape(words)}</a>'


def batch(count: int, targets: int, left_out: Sequence[tuple[str, str]], link: str, samples: Sequence[tuple[str, str]]) -> str:
    """Return what came of a batch: the link, what was left out and why, and the first results."""
    said = f"{count} picture{'s' * (count != 1)}, {count * targets} result{'s' * (count * targets != 1)}"
    missing = "".join(f"<li><b>{html.escape(title)}</b> {html.escape(reason)}</li>" for title, reason in left_out)
    missing = f'<p class="note">Left out:</p><ul class="left-out">{missing}</ul>' if missing else ""
    return f'<div class="batch"><p class="done">{said} {link}</p>{missing}</div>{strip(samples)}'


def model_page(hosted: Hosted) -> str:
    """Return what a model was trained on, its scores and a sheet of its work."""
    about = hosted.description()
    values = "values {:g} to {:g}".format(*about["values"])
    facts = {
        "Recipe": about["recipe"] + (f", preset {about['preset']}" if about["preset"] else ""),
        "Pictures": f"{about['width']} × {about['height']}, {about['channels']} channels, {about['depth']} bits, {values}",
        "Trained": f"{about['step']:,} steps" if about["step"] else "",
        "Data": ", ".join(f"{d['name']}, {d['pictures']:,} pictures" for d in about["data"]),
        "Runs on": about["device"],
        "Licence of the weights": about["licence"] or "",
        "Version": f"asterism {about['version']}" if about["version"] else "",
    }
    for group in about["groups"]:
        facts[f"Labels of {group['dataset']}"] = ", ".join(group["labels"])
    rows = "".join(f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd></div>" for k, v in facts.items() if v)
    parts = [f"<h2>{html.escape(hosted.name)}</h2><dl>{rows}</dl>"]
    for name, record in about["scores"].items():
        parts.append(f"<h3>Scores: {html.escape(name)}, step {record.get('step') or 0:,}</h3>{_table(record)}")
    if not about["scores"]:
        parts.append('<p class="note">Not measured yet: <code>asterism evaluate</code> does it.</p>')
    if sheet := _sheet(hosted):
        parts.append(f"<h3>{html.escape(sheet.caption or 'Samples')}</h3>{_sheet_figure(sheet)}")
    return f'<div class="model">{"".join(parts)}</div>'


def _table(record: Mapping[str, Any]) -> str:
    rows = [(row["name"], row["values"]) for row in record.get("rows", ())]
    rows += [(name, about["values"]) for name, about in record.get("targets", {}).items()]
    units = {name: about.get("unit", "") for name, about in record.get("metrics", {}).items()}
    columns = [c for c in dict.fromkeys(c for _, values in rows for c in values) if any(v.get(c) is not None for _, v in rows)]
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = []
    for name, values in rows:
        cells = "".join(f"<td>{_number(values.get(column), units.get(column, ''))}</td>" for column in columns)
        lines.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    body = "".join(lines)
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(value: float | None, unit: str) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.1%}" if unit == "share" else f"{value:.4g}"


def _sheet(hosted: Hosted) -> Sheet | None:
    run = hosted.run
    return (run.held_out or (run.previews[-1] if run.previews else None)) if run else None


def _sheet_figure(sheet: Sheet) -> str:
    with Image.open(sheet.file) as opened:
        picture = opened.convert("RGB")
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, subsampling=0)
    address = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    heads = "".join(f"<span>{html.escape(column)}</span>" for column in sheet.columns)
    style = f"--columns:{max(1, len(sheet.columns))};max-width:{picture.width * 1.5:.0f}px"
    return f'<div class="sheet" style="{style}"><div class="heads">{heads}</div><img src="{address}" alt="samples"></div>'
