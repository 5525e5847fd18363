"""The one report.html writer: what runs were trained on, how that went, what came out, and whether it works.

The page is one file that loads nothing from elsewhere: pictures are embedded, and `assets/report.js` only adds to what can be
seen without it. It is made from the files of the run folders alone (docs/training.md lists them), shows what is there and
leaves out what is not; machine names and paths stay out of it. The modules here compute what the page shows as plain data, a
section each; `templates/page.html.j2` lays it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from asterism import __version__
from asterism.report.charts import COLOURS, charts, drawing
from asterism.report.configuration import configuration
from asterism.report.picture_sheets import cases, previews
from asterism.report.run_facts import facts
from asterism.report.score_tables import score_tables
from asterism.runs.folder import Run, read_run
from asterism.storage.run_files import RunError
from asterism.storage.whole import write_whole
from asterism.wording import counted, duration, number


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
    folders = list(dict.fromkeys(Path(run).resolve() for run in runs))
    page = render(_named_apart([read_run(folder) for folder in folders]))
    out = Path(out) if out else (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    write_whole(out, page.encode(errors="backslashreplace"))  # A Latin-1 name of a folder is no text.
    return out


def _named_apart(runs: Sequence[Run]) -> list[Run]:
    """Return the runs, those of one name with a number behind it."""
    total, seen, named = Counter(run.name for run in runs), Counter[str](), []
    for run in runs:
        seen[run.name] += 1
        named.append(replace(run, name=f"{run.name} ({seen[run.name]})") if total[run.name] > 1 else run)
    return named


def render(runs: Sequence[Run]) -> str:
    """Return the page on one or several runs as HTML text."""
    environment = Environment(
        loader=PackageLoader("asterism.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {"colour": _colour, "counted": counted, "drawing": drawing, "duration": duration, "number": number}
    assets = files("asterism") / "assets"
    held_out, ranked = cases(runs)
    return environment.get_template("page.html.j2").render(
        runs=runs,
        version=__version__,
        style=(assets / "report.css").read_text(encoding="utf-8"),
        script=(assets / "report.js").read_text(encoding="utf-8"),
        facts=facts(runs),
        held_out=held_out,
        scores=score_tables(runs),
        cases=ranked,
        previews=previews(runs),
        charts=charts(runs),
        configuration=configuration(runs),
    )


def _colour(number: int) -> str:
    """Return the colour of a run, or of a term, in CSS; `assets/report.css` has COLOURS of them."""
    return f"var(--c{number % COLOURS})"
