"""The scores: a table for each set of records whose numbers may be compared, and never a table of others.

Metrics stand in rows, what was measured in columns: copying the input, the translations, and real pictures of the target show
what a value means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asterism.report.markup import COLOURS, Html, breakable, counted, duration, join, section, shown, swatch, tag
from asterism.report.matrices import matrices
from asterism.storage.run_folder import Run, heading, why_not_comparable

KINDS = ("translated", "copy", "real", "random")  # Columns from left to right.
MANY = 6  # Columns beyond which paper has room for numbers only.
SHORT = {"copy": "copy the input", "real": "real pictures", "random": "random weights"}


@dataclass(frozen=True)
class Entry:
    """One record of one run.

    Args:
        number: of the run.
        title: what tells it from the others of its table: the run, and the checkpoint where a run has several there.
    """

    number: int
    record: Mapping[str, Any]
    title: Html = Html()


@dataclass(frozen=True)
class Column:
    """What is measured in a column of a table; `run` is the number of the run that it belongs to."""

    kind: str
    name: str
    title: Html
    values: Mapping[str, float | None]
    run: int


def scores(runs: Sequence[Run]) -> Html:
    """Return all scores of the runs."""
    tables = comparable([Entry(i, record) for i, run in enumerate(runs) for record in run.scores.values()])
    parts = [_group(_titled(table, runs), runs, tables[:number]) for number, table in enumerate(tables)]
    lead = (
        "Copying the input and real pictures of the target say what a value means: "
        "a good translation is far from the one and near the other."
    )
    if len(tables) > 1:
        lead += " Numbers of different tables do not compare."
    return section("scores", "Scores", lead, *parts)


def comparable(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Sort records into sets whose numbers may be compared, in the order in which they come."""
    tables: list[list[Entry]] = []
    for entry in entries:
        same = (table for table in tables if why_not_comparable(table[0].record, entry.record) is None)
        if (table := next(same, None)) is not None:
            table.append(entry)
        else:
            tables.append([entry])
    return tables


def _titled(table: Sequence[Entry], runs: Sequence[Run]) -> list[Entry]:
    entries = []
    for entry in table:
        several = sum(other.number == entry.number for other in table) > 1
        run = swatch(entry.number, runs) if len(runs) > 1 else Html()
        checkpoint = f"{entry.record['checkpoint']}, step {entry.record['step']:,}" if several else ""
        title = Html(run + (" " + tag("small", checkpoint) if run and checkpoint else Html(checkpoint)))
        entries.append(Entry(entry.number, entry.record, title))
    return entries


def _group(table: Sequence[Entry], runs: Sequence[Run], before: Sequence[Sequence[Entry]]) -> Html:
    record = table[0].record
    extractor = record["extractor"]
    facts = [f"version {record['version']}", f"features of {extractor['name']}", f"{record['split']} pictures"]
    heading = tag("h3", record["protocol"], tag("small", ", ".join(facts)))
    twins = [other[0].record for other in before if other[0].record["protocol"] == record["protocol"]]
    reasons = [reason for twin in twins if (reason := why_not_comparable(twin, record))]
    apart = [tag("p", f"Not to be compared with the table above: {reason}.", class_="note") for reason in reasons[-1:]]
    noted: dict[str, list[Entry]] = {}
    for entry in table:
        for note in entry.record.get("notes", ()):
            noted.setdefault(note, []).append(entry)
    notes = [
        tag("li", *([Html(", ".join(e.title for e in whose)), ": "] if len(whose) < len(table) else []), note)
        for note, whose in noted.items()
    ]
    return tag(
        "div",
        heading,
        *apart,
        *_judges(table),
        _orientation(table),
        *([tag("ul", join(notes), class_="notes")] if notes else []),
        _targets(table),
        matrices([(entry.title, entry.record) for entry in table]),
        _about(table),
        class_="group",
    )


def _judges(table: Sequence[Entry]) -> list[Html]:
    """Say how good the classifier is on real pictures, once for all of which it is the same."""
    said: dict[tuple[str, bool], list[Entry]] = {}
    for entry in table:
        if judge := entry.record.get("classifier"):
            said.setdefault((_judge(judge), bool(judge.get("void"))), []).append(entry)
    parts = []
    for (text, void), entries in said.items():
        whose = [Html(", ".join(entry.title for entry in entries) + ": ")] if len(said) > 1 else []
        parts.append(tag("p", *whose, text, class_="void" if void else "note"))
    return parts


def _judge(judge: Mapping[str, Any]) -> str:
    text = f"The classifier is right on {judge['accuracy']:.1%} of the labels of real pictures"
    if judge.get("void"):
        return f"Void. {text}; below {judge['needed']:.0%} nothing that it says counts."
    worst = min(judge.get("labels", {}).items(), key=lambda item: item[1], default=None)
    return text + (f", least often on {worst[0]}: {worst[1]:.1%}." if worst and worst[1] < judge["accuracy"] else ".")


# -- the table with the rows for orientation -----------------------------------------------------------------------------


def _orientation(table: Sequence[Entry]) -> Html:
    columns = _columns(table)
    metrics = {name: about for entry in table for name, about in entry.record["metrics"].items()}
    heads = [tag("th", column.title, scope="col", class_=column.kind) for column in columns]
    scale = tag("th", tag("span", "worse"), tag("span", "better"), class_="strip", scope="col")
    lines = []
    for name, about in metrics.items():
        title = [breakable(heading(name, table[0].record)), _direction(about["better"]), tag("small", about["meaning"])]
        best = _best(name, about["better"], about["unit"], columns)
        cells = []
        for column in columns:
            text = shown(column.values.get(name), about["unit"])
            unit = f" {about['unit']}" if about["unit"] not in ("", "share") and text != "–" else ""
            is_best = column in best
            content = tag("strong", text, title="best of the runs") if is_best else text
            cells.append(tag("td", content, tag("small", unit) if unit else "", class_=column.kind))
        strip = tag("td", _strip(name, about, columns), class_="strip")
        lines.append(tag("tr", tag("th", *title, scope="row"), strip, *cells))
    head = tag("thead", tag("tr", tag("td"), scale, *heads))
    return tag(
        "div",
        tag("table", head, tag("tbody", join(lines)), class_="scores many" if len(columns) > MANY else "scores"),
        class_="scroll",
        tabindex=0,
    )


def _columns(table: Sequence[Entry]) -> list[Column]:
    """Return the columns; rows for orientation that measure the same in all records stand once."""
    columns: list[Column] = []
    for kind in dict.fromkeys((*KINDS, *(row["kind"] for e in table for row in e.record["rows"]))):
        names = dict.fromkeys(row["name"] for e in table for row in e.record["rows"] if row["kind"] == kind)
        for name in names:
            found = [
                (e, row["values"]) for e in table for row in e.record["rows"] if (row["kind"], row["name"]) == (kind, name)
            ]
            brief = SHORT.get(kind, name.removeprefix("translated, "))
            if kind != "translated" and all(values == found[0][1] for _, values in found):
                columns.append(Column(kind, name, breakable(brief), found[0][1], 0))
                continue
            for e, values in found:
                title = Html(e.title + tag("small", breakable(brief))) if e.title else breakable(brief)
                columns.append(Column(kind, name, title, values, e.number))
    return columns


def _direction(better: str) -> Html:
    arrows = {"higher": ("↑", "higher is better"), "lower": ("↓", "lower is better")}
    if better not in arrows:
        return Html()
    arrow, words = arrows[better]
    return tag("abbr", arrow, title=words, aria_label=words)


def _best(metric: str, better: str, unit: str, columns: Sequence[Column]) -> list[Column]:
    """Return the best translations by a metric of each name, where several records have it and a reader sees a difference."""
    best = []
    for name in dict.fromkeys(c.name for c in columns if c.kind == "translated"):
        rivals = [c for c in columns if c.name == name and (v := c.values.get(metric)) is not None and math.isfinite(v)]
        values = [c.values[metric] for c in rivals]
        if len(rivals) > 1 and better in ("higher", "lower"):
            pick = max(values) if better == "higher" else min(values)  # type: ignore[type-var]
            picked = [c for c in rivals if shown(c.values[metric], unit) == shown(pick, unit)]
            best += picked if len(picked) < len(rivals) else []
    return best


def _strip(metric: str, about: Mapping[str, Any], columns: Sequence[Column]) -> Html:
    """Draw all values of a metric on one line from worse to better: a ring copies, a bar is real, dots are translations."""
    values = [(c, float(v)) for c in columns if (v := c.values.get(metric)) is not None and math.isfinite(v)]
    # Untrained weights may be so far off that nothing else could be told apart: their cross then stands at the end.
    shown_apart = [v for c, v in values if c.kind != "random"]
    if len(set(shown_apart)) < 2:
        shown_apart = [v for _, v in values]
    low, high = min(shown_apart, default=0.0), max(shown_apart, default=0.0)
    if about["unit"] == "share" and about["better"] == "higher":  # Else 99.8% and 99.9% would stand at the two ends.
        low, high = 0.0, 1.0
    if about["better"] not in ("higher", "lower") or low == high:
        return Html()
    parts = [tag("line", x1=6, x2=134, y1=9, y2=9, class_="axis")]
    order = {"copy": 0, "random": 1, "real": 2, "translated": 3}
    for column, value in sorted(values, key=lambda item: order[item[0].kind]):
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        x = round(6 + 128 * (share if about["better"] == "higher" else 1 - share), 1)
        if column.kind == "translated":
            parts.append(tag("circle", cx=x, cy=9, r=4.2, style=f"fill:var(--c{column.run % COLOURS})"))
        elif column.kind == "real":
            parts.append(tag("line", x1=x, x2=x, y1=2, y2=16, class_="real"))
        elif column.kind == "copy":
            parts.append(tag("circle", cx=x, cy=9, r=4, class_="copy"))
        else:
            parts.append(tag("path", d=f"M{x - 3} 6l6 6m0-6l-6 6", class_="random"))
    return tag("svg", *parts, viewBox="0 0 140 18", width=140, height=18, aria_hidden="true")


# -- target by target ----------------------------------------------------------------------------------------------------


def _targets(table: Sequence[Entry]) -> Html:
    targets = dict.fromkeys(name for e in table for name in e.record.get("targets", ()))
    if not targets:
        return Html()
    metrics = {name: about for e in table for name, about in e.record["metrics"].items()}
    measured = {n for e in table for t in e.record["targets"].values() for n, v in t["values"].items() if v is not None}
    columns = [name for name, about in metrics.items() if name in measured and about["better"]]
    several = len(table) > 1
    bodies = []
    for target in targets:
        found = [e for e in table if target in e.record.get("targets", ())]
        rows = []
        for i, entry in enumerate(found):
            about = entry.record["targets"][target]
            head = [tag("th", breakable(target), scope="rowgroup", rowspan=len(found))] if i == 0 else []
            whose = [tag("th", entry.title, scope="row", class_="run")] if several else []
            cells = [_cell(about["values"].get(name), metrics[name]) for name in columns]
            rows.append(tag("tr", *head, *whose, *cells, tag("td", f"{about['pictures']:,}", class_="soft")))
        bodies.append(tag("tbody", join(rows)))
    titles = [tag("th", breakable(n), _direction(metrics[n]["better"]), scope="col") for n in columns]
    corner = [tag("td")] * (2 if several else 1)
    top = tag("thead", tag("tr", *corner, *titles, tag("th", "pictures", scope="col")))
    return Html(
        tag("h4", "Target by target") + tag("div", tag("table", top, *bodies, class_="targets"), class_="scroll", tabindex=0)
    )


def _cell(value: float | None, about: Mapping[str, Any]) -> Html:
    text = shown(value, about["unit"])
    if about["unit"] == "share" and value is not None:
        return tag("td", text, class_="share", style=f"--share:{min(max(value, 0.0), 1.0):.4f}")
    return tag("td", text)


def _about(table: Sequence[Entry]) -> Html:
    """Return what was measured with which parameters, how long it took."""
    extractor, parameters = table[0].record["extractor"], table[0].record["parameters"]
    same = [
        f"Features of {extractor['name']} {extractor['digest'][:12]}, {counted(extractor['dims'], 'number')} a picture",
        *(
            f"{name.replace('_', ' ')} {value:,}" if isinstance(value, int) else f"{name} {value}"
            for name, value in parameters.items()
        ),
    ]
    rows = [tag("p", ", ".join(same), ".")]
    for entry in table:
        whose = [entry.title, ": "] if len(table) > 1 else []
        seconds = entry.record.get("seconds")
        took = f", measured in {duration(seconds)}" if seconds is not None else ""
        rows.append(tag("p", *whose, f"Checkpoint {entry.record['checkpoint']} of step {entry.record['step']:,}{took}."))
    return tag("div", *rows, class_="fine")
