"""The one report.html writer: what a run was trained on, how it went, what came out.

The page is one file that loads nothing from elsewhere: pictures are embedded, the curves are drawn by
`assets/report.js` from numbers in the page. It is made from the files of the run folder alone (docs/training.md lists
them), shows what is there and leaves out what is not; machine names and paths stay out of it.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from asterism.config import ConfigError, DataConfig, TrainConfig, fields_of, to_dict
from asterism.recipes import recipe_class
from asterism.run_folder import Run, RunError, Sheet, read_run

MOMENTS = 6  # Previews shown, evenly chosen over the run.
POINTS = 400  # Points per curve; a longer log is averaged down to it.


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write one self-contained page on one run, or on several beside each other.

    Args:
        runs: run folders.
        out: the file to write; by default report.html in the run folder or, with several, in the folder above the first.

    Returns:
        The file written.

    Raises:
        RunError: no run is named, or a folder holds neither config.json nor model.safetensors.
    """
    if not runs:
        raise RunError("name at least one run folder to report on")
    read = [read_run(Path(run)) for run in runs]
    home = Path(runs[0]).resolve()
    out = Path(out) if out else (home if len(runs) == 1 else home.parent) / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        half.write_text(render(read), encoding="utf-8")
        os.replace(half, out)
    finally:
        half.unlink(missing_ok=True)
    return out


# -- the page ----------------------------------------------------------------------------------------------------------


class Html(str):
    """Text that is HTML already; any other text is escaped by `tag`."""


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """Return an element; attributes are written class_ for class and data_x for data-x, content is escaped unless Html."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(v))}"' for key, v in attributes.items())
    inner = "".join(part if isinstance(part, Html) else html.escape(str(part)) for part in content)
    return Html(f"<{name}{pairs}>" if name in ("img", "meta") else f"<{name}{pairs}>{inner}</{name}>")


def join(parts: Iterable[Html]) -> Html:
    """Return elements as one piece, a line each."""
    return Html("\n".join(parts))


def render(runs: Sequence[Run]) -> str:
    """Return the page as HTML text."""
    assets = files("asterism") / "assets"
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    version = runs[0].model.get("info", {}).get("version", "")
    parts = [_header(runs, title)]
    for run in runs:
        parts += [tag("h3", run.name)] if len(runs) > 1 else []
        parts.append(_facts(run))
    parts.append(_scores(runs))
    parts += [_previews(run, _title("Previews", run, runs)) for run in runs if run.previews]
    parts += [_section(_title("Held-out pictures", run, runs), "", _figure(run.held_out)) for run in runs if run.held_out]
    charts = _charts(runs)
    parts += [_curves(charts), _configuration(runs)]
    parts.append(tag("footer", f"Written by asterism {version}. This page is one file and loads nothing from elsewhere."))
    numbers = json.dumps(charts, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # Cannot end the script.
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · asterism"),
        tag("style", Html((assets / "report.css").read_text(encoding="utf-8"))),
    ]
    body = [
        tag("main", join(parts)),
        tag("dialog", aria_label="picture, enlarged"),
        tag("script", Html(numbers), id="curves", type="application/json"),
        tag("script", Html((assets / "report.js").read_text(encoding="utf-8"))),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', join(head)), tag('body', join(body)), lang='en')}\n"


def _section(title: str, lead: str, *content: Html) -> Html:
    return tag("section", tag("h2", title), tag("p", lead, class_="lead") if lead else "", *content)


def _title(what: str, run: Run, runs: Sequence[Run]) -> str:
    return what if len(runs) == 1 else f"{what}: {run.name}"


def _header(runs: Sequence[Run], title: str) -> Html:
    star = "M0-5V5M-4.3-2.5 4.3 2.5M-4.3 2.5 4.3-2.5"
    mark = [tag("path", transform=f"translate({x} {y})", d=star) for x, y in ((12, 6), (5, 18), (19, 18))]
    preset = runs[0].config.get("preset")
    one = _recipe_name(runs[0]) + (f", preset {preset}" if preset else "")
    deck = one if len(runs) == 1 else ", ".join(run.name for run in runs)
    brand = tag("p", tag("svg", *mark, viewBox="0 0 24 24", aria_hidden="true"), "asterism", class_="brand")
    return tag("header", brand, tag("h1", title), tag("p", deck, class_="deck"))


def _recipe_name(run: Run) -> str:
    kind = _recipe(run)
    return kind.__name__ if kind else str(run.config.get("name", "unknown recipe"))


def _recipe(run: Run) -> Any:
    try:
        return recipe_class(str(run.config.get("name")))
    except ConfigError:  # Written by a version that had another recipe.
        return None


def _facts(run: Run) -> Html:
    """Return what was trained, on how much and how long, as a list of names and values."""
    info, groups = run.model.get("info", {}), run.model.get("labels", [])
    facts: dict[str, str] = {}
    for dataset in dict.fromkeys(group["dataset"] for group in groups):
        mine = [label for group in groups if group["dataset"] == dataset for label in group["labels"]]
        facts[f"Labels of {dataset}"] = ", ".join(mine)
    for dataset in info.get("data", ()):
        facts[f"Trained on {dataset['name']}"] = _count(dataset["pictures"], "picture")
    if picture := run.model.get("picture"):
        facts["Size"] = f"{picture['width']} × {picture['height']} pixels, {_count(picture['channels'], 'channel')}"
    if run.log:
        last = run.log[-1]
        facts["Length"] = f"{_count(last['step'], 'step')}, {_count(last['images'], 'picture')}"
        speed = statistics.median(line["images_per_second"] for line in run.log)
        facts["Time"] = f"{_duration(last['seconds'])}, {speed:,.{0 if speed >= 10 else 1}f} pictures/s"
        if last.get("skipped"):
            facts["Skipped"] = f"{_count(last['skipped'], 'step')} with non-finite values"
    if run.model:
        networks = (f"{network} {count / 1e6:,.2f} M" for network, count in run.model["parameters"].items())
        facts["Parameters"] = f"{', '.join(networks)}; the file has {run.model['bytes'] / 1e6:,.1f} MB"
    if info.get("licence"):
        facts["Licence of the weights"] = info["licence"]
    rows = [
        tag("div", tag("dt", name), tag("dd", value), class_="wide" if len(value) > 32 else "narrow")
        for name, value in facts.items()
    ]
    return tag("dl", join(rows), class_="facts", aria_label=run.name)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    return f"{minutes} min {int(seconds % 60):02} s" if minutes else f"{seconds:.0f} s"


# -- scores ------------------------------------------------------------------------------------------------------------


def _scores(runs: Sequence[Run]) -> Html:
    tables, notes = [], dict[str, None]()
    for name in dict.fromkeys(name for run in runs for name in run.scores):
        scored = [(run, run.scores[name]) for run in runs if name in run.scores]
        units = {metric: about["unit"] for _, record in scored for metric, about in record["metrics"].items()}
        rows, targets = [], []
        for run, record in scored:
            before = "" if len(runs) == 1 else f"{run.name}: "
            rows += [(before + row["name"], row["values"]) for row in record["rows"]]
            targets += [(before + target, about["values"]) for target, about in record["targets"].items()]
            notes |= dict.fromkeys(record["notes"])
        tables.append(tag("p", name, class_="note"))
        tables += [_table(rows, units), *([_table(targets, units)] if targets else [])]
    return _section("Scores", "", *tables, *(tag("p", note, class_="note") for note in notes)) if tables else Html()


def _table(rows: Sequence[tuple[str, Mapping[str, Any]]], units: Mapping[str, str]) -> Html:
    columns = list(dict.fromkeys(name for _, values in rows for name in values))
    heads = [tag("th", name, tag("small", units.get(name, "").replace("share", "")), scope="col") for name in columns]
    lines = [
        tag("tr", tag("th", name, scope="row"), *(_score(values.get(column), units.get(column, "")) for column in columns))
        for name, values in rows
    ]
    table = tag("table", tag("thead", tag("tr", tag("th"), *heads)), tag("tbody", join(lines)), class_="scores")
    return tag("div", table, class_="scroll")


def _score(value: float | None, unit: str) -> Html:
    if value is None or not math.isfinite(value):
        return tag("td", "–")
    if unit == "share":
        return tag("td", f"{value:.1%}", class_="share", style=f"--share:{min(max(value, 0.0), 1.0):.4f}")
    return tag("td", f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}")


# -- pictures ----------------------------------------------------------------------------------------------------------


def _previews(run: Run, title: str) -> Html:
    lead = "The same validation pictures, left, and what the averaged weights made of them as training went on."
    count = min(MOMENTS, len(run.previews))
    chosen = [run.previews[round(i * (len(run.previews) - 1) / max(1, count - 1))] for i in range(count)]
    return _section(title, lead, tag("div", join(map(_figure, chosen)), class_="moments"))


def _figure(sheet: Sheet) -> Html:
    with Image.open(sheet.file) as opened:
        picture = opened.convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, subsampling=0)  # Colour at full resolution: it is what the edits change.
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    look = {"columns": len(sheet.columns), "longest": max(map(len, sheet.columns), default=0)}
    style = f"max-width:{picture.width * 1.5:.0f}px;" + ";".join(f"--{name}:{value}" for name, value in look.items())
    return tag(
        "figure",
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


# -- curves ------------------------------------------------------------------------------------------------------------


def _charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one chart per update, its terms as series, and one of the learning rates; every run in each."""
    curves: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    for number, run in enumerate(runs):
        for line in run.log:
            rates = {f"learning rate/{network}": rate for network, rate in line.get("lr", {}).items()}
            for name, value in {**line.get("terms", {}), **rates}.items():
                update, _, term = name.partition("/")
                if value is not None and math.isfinite(value):
                    curves.setdefault((update, term, number), []).append((line["step"], value))
    updates = sorted(dict.fromkeys(update for update, _, _ in curves), key=lambda update: update == "learning rate")
    return [
        {
            "title": update,
            "runs": [run.name for run in runs],
            "series": [{"name": t, "run": n, "points": _thin(points)} for (u, t, n), points in curves.items() if u == update],
        }
        for update in updates
    ]


def _thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Average neighbours until at most POINTS are left; a point stands at its last step."""
    size = math.ceil(len(points) / POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(group[-1][0], float(f"{statistics.fmean(value for _, value in group):.5g}")) for group in groups]


def _curves(charts: Sequence[Mapping[str, Any]]) -> Html:
    if not charts:
        return Html()
    lead = (
        "One chart per update, one line per term of its loss, before weighting. "
        "Point at a chart to read values; click a name to hide its line."
    )
    figures = [tag("figure", class_="chart", aria_label=chart["title"]) for chart in charts]
    note = tag("noscript", tag("p", "The curves are drawn by a script in this page.", class_="note"))
    return _section("Curves", lead, tag("div", join(figures), class_="charts"), note)


# -- configuration -----------------------------------------------------------------------------------------------------


def _configuration(runs: Sequence[Run]) -> Html:
    recipe = _recipe(runs[0])
    kinds = {"recipe": recipe.Config if recipe else None, "data": DataConfig, "train": TrainConfig}
    bodies = []
    for section, kind in kinds.items():
        known, defaults = (fields_of(kind), to_dict(kind())) if kind else ({}, {})
        rows = []
        for name in dict.fromkeys(name for run in runs for name in run.config.get(section, ())):
            values = [run.config.get(section, {}).get(name) for run in runs]
            about = known[name].metadata.get("help", "") if name in known else ""
            cells = [
                tag("th", f"{section}.{name}", scope="row"),
                *(tag("td", _setting(name, v)) for v in values),
                tag("td", about),
            ]
            rows.append(tag("tr", *cells, class_="set" if any(v != defaults.get(name) for v in values) else "default"))
        bodies.append(tag("tbody", join(rows)))
    heads = [run.name for run in runs] if len(runs) > 1 else ["value"]
    head = tag("thead", tag("tr", tag("th"), *(tag("th", title, scope="col") for title in (*heads, "meaning"))))
    table = tag("table", head, *bodies, class_="configuration")
    lead = "As resolved from defaults, preset and command line; what is not a default stands out."
    return _section("Configuration", lead, tag("div", table, class_="scroll"))


def _setting(name: str, value: Any) -> str:
    if name == "sources" and value:  # Without the folders above: the page is made to be passed on.
        return ", ".join(Path(source).name for source in value)
    if isinstance(value, list):
        return (" × " if name == "size" else ", ").join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, "") else f"{value:,}" if isinstance(value, int) else str(value)
