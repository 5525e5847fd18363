"""The page as a whole: what stands in it, in which order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

from asterism import __version__
from asterism.report.configuration import configuration
from asterism.report.curves import charts, curves
from asterism.report.facts import facts, recipe_name
from asterism.report.markup import Html, join, tag
from asterism.report.pictures import cases, previews
from asterism.report.scores import scores
from asterism.storage.run_folder import Run


def render(runs: Sequence[Run]) -> str:
    """Return the page on one or several runs as HTML text."""
    assets = files("asterism") / "assets"
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    drawn = charts(runs)
    held_out, ranked = cases(runs)
    parts = {
        "": facts(runs),
        "Held-out pictures": held_out,
        "Scores": scores(runs),
        "Cases": ranked,
        "Previews": previews(runs),
        "Curves": curves(drawn, runs),
        "Configuration": configuration(runs),
    }
    links = [tag("a", name, href=f"#{name.lower()}") for name, part in parts.items() if name and part]
    links = [Html(link.replace("#held-out pictures", "#held-out")) for link in links]
    numbers = json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # Cannot end the script.
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · asterism"),
        tag("style", Html((assets / "report.css").read_text(encoding="utf-8"))),
    ]
    footer = f"Written by asterism {__version__}. This page is one file and loads nothing from elsewhere."
    body = [
        tag("main", _header(runs, title, links), join(part for part in parts.values() if part), tag("footer", footer)),
        tag("dialog", aria_label="picture, enlarged"),
        tag("script", Html(numbers), id="charts", type="application/json"),
        tag("script", Html((assets / "report.js").read_text(encoding="utf-8"))),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', join(head)), tag('body', join(body)), lang='en')}\n"


def _header(runs: Sequence[Run], title: str, links: Sequence[Html]) -> Html:
    star = "M0-5V5M-4.3-2.5 4.3 2.5M-4.3 2.5 4.3-2.5"
    mark = [tag("path", transform=f"translate({x} {y})", d=star) for x, y in ((12, 6), (5, 18), (19, 18))]
    preset = runs[0].config.get("preset")
    one = recipe_name(runs[0]) + (f", preset {preset}" if preset else "")
    deck = one if len(runs) == 1 else ", ".join(run.name for run in runs)
    brand = tag("p", tag("svg", *mark, viewBox="0 0 24 24", aria_hidden="true"), "asterism", class_="brand")
    contents = tag("nav", *links, aria_label="contents") if len(links) > 1 else Html()
    return tag("header", brand, tag("h1", title), tag("p", deck, class_="deck"), contents)
