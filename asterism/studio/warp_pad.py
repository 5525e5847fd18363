"""The warp brush of the page: a picture on which a stroke of the mouse says what is to be where.

Gradio's image editor hands over pixels, which do not say where a stroke began. This field hands over both ends of each stroke.
"""

from __future__ import annotations

import base64
import io
import json
import math

import gradio as gr
from PIL import Image

from asterism.config import ConfigError

MOST = 16
"""Strokes at once."""

EMPTY = json.dumps({"picture": "", "strokes": []})

TEMPLATE = """<div class="pad"><img src="${JSON.parse(value).picture}" draggable="false" alt="the present picture">
<svg viewBox="0 0 100 100" preserveAspectRatio="none">${JSON.parse(value).strokes.map(([y, x, y2, x2]) =>
`<line x1="${100 * x}" y1="${100 * y}" x2="${100 * x2}" y2="${100 * y2}"></line>`).join("")}</svg>
${JSON.parse(value).strokes.map(([y, x, y2, x2]) => `<i style="left:${100 * x2}%;top:${100 * y2}%"></i>`).join("")}</div>
<button class="clear" type="button">Clear</button>"""

STYLE = """.pad { position: relative; width: 100%; max-width: 460px; cursor: crosshair; touch-action: none; user-select: none }
.pad img { width: 100%; display: block; pointer-events: none; image-rendering: auto }
.pad svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none }
.pad line { stroke: #ff5000; stroke-width: 3px; vector-effect: non-scaling-stroke }
.pad i { position: absolute; width: 12px; height: 12px; margin: -6px; border-radius: 6px; pointer-events: none }
.pad i { background: #ff5000 }
.clear { margin-top: 4px; padding: 2px 10px; border: 1px solid currentColor; border-radius: 4px }"""

SCRIPT = """let from = null, line = null;
const set = (change) => {
    const held = JSON.parse(props.value);
    props.value = JSON.stringify({ ...held, strokes: change(held.strokes) });
    trigger("input");
};
const place = (event) => {
    const box = element.querySelector(".pad").getBoundingClientRect();
    const share = (at, start, size) => Math.min(0.9999, Math.max(0, (at - start) / size));
    return [share(event.clientY, box.top, box.height), share(event.clientX, box.left, box.width)];
};
const draw = (to) => {
    const ends = { x1: from[1], y1: from[0], x2: to[1], y2: to[0] };
    for (const [name, share] of Object.entries(ends)) line.setAttribute(name, 100 * share);
};
element.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".pad")) return;
    event.preventDefault();
    from = place(event);
    line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    element.querySelector("svg").append(line);
});
window.addEventListener("pointermove", (event) => { if (from && line) draw(place(event)); });
window.addEventListener("pointerup", (event) => {
    if (!from) return;
    const stroke = [...from, ...place(event)];
    from = null;
    line.remove();
    set((strokes) => [...strokes, stroke]);
});
element.addEventListener("click", (event) => {
    if (event.target.closest(".clear")) set(() => []);
});"""


def warp_pad(name: str) -> gr.HTML:
    """Return the field. Its value is JSON: the picture, and strokes, rows and columns of both ends as shares of the picture.

    Args:
        name: its id on the page.
    """
    return gr.HTML(
        EMPTY,
        label="Drag what is to be elsewhere",
        html_template=TEMPLATE,
        css_template=STYLE,
        js_on_load=SCRIPT,
        show_label=True,
        container=True,
        visible=False,
        elem_id=name,
    )


def renewed(picture: Image.Image) -> str:
    """Return the field's value with a picture and without strokes."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return json.dumps({"picture": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(), "strokes": []})


def warps(value: str | None, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Return the strokes of the field's value as warps: rows and columns of both ends, in pixels of a picture of that size.

    Raises:
        ConfigError: no stroke, too many, or something else.
    """
    try:
        ends = [[float(share) for share in stroke] for stroke in json.loads(value or EMPTY)["strokes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("the strokes cannot be read: clear them, and draw them again") from error
    if any(len(stroke) != 4 or not all(math.isfinite(share) and 0 <= share < 1 for share in stroke) for stroke in ends):
        raise ConfigError("a stroke leaves the picture: clear the strokes, and draw them again")
    if not 0 < len(ends) <= MOST:
        raise ConfigError(f"drag something on the picture first, at most {MOST} times; there are {len(ends)} strokes")
    return [(int(y * height), int(x * width), int(y2 * height), int(x2 * width)) for y, x, y2, x2 in ends]
