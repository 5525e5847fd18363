"""HTML elements from text, and how the page writes numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from asterism.storage.run_folder import Run

VOID = frozenset({"img", "meta", "wbr"})
COLOURS = 8
"""Colours --c0, --c1 ... of assets/report.css; the same run or term has the same one everywhere."""


class Html(str):
    """Text that is HTML already; any other text is escaped by `tag`."""


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """Return an element; attributes are written class_ for class and data_x for data-x, content is escaped unless Html."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(v))}"' for key, v in attributes.items())
    inner = "".join(part if isinstance(part, Html) else html.escape(str(part)) for part in content)
    return Html(f"<{name}{pairs}>" if name in VOID else f"<{name}{pairs}>{inner}</{name}>")


def join(parts: Iterable[Html]) -> Html:
    """Return elements as one piece, a line each."""
    return Html("\n".join(parts))


def section(name: str, title: str, lead: str, *content: Html) -> Html:
    """Return a section of the page that `#name` leads to; nothing if it would be empty."""
    if not any(content):
        return Html()
    return tag("section", tag("h2", title), tag("p", lead, class_="lead") if lead else "", *content, id=name)


def breakable(name: str) -> Html:
    """Return a name that may be broken after its underscores, as labels of data have them."""
    return Html(tag("wbr").join(html.escape(part) for part in name.replace("_", "_\0").split("\0")))


def swatch(number: int, runs: Sequence[Run]) -> Html:
    """Return the run's name behind its colour; the name alone where there is one run only."""
    name = runs[number].name
    if len(runs) == 1:
        return Html(html.escape(name))
    return tag("span", tag("i", class_="swatch", style=f"--colour:var(--c{number % COLOURS})"), name, class_="named")


def counted(number: int, what: str) -> str:
    """Return '1 step', '2,000 steps'."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return '12 s', '3 min 05 s' or '2 h 10 min'."""
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    return f"{minutes} min {int(seconds % 60):02} s" if minutes else f"{seconds:.0f} s"


def shown(value: float | None, unit: str) -> str:
    """Return a value as people read it: shares as percentages, others in four figures, small ones in three, a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "share":
        return f"{value:.1%}"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 0.1 else f"{value:.3g}"
