"""The page as a whole: the data of its sections, laid out by templates/page.html.j2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from asterism import __version__
from asterism.report.charts import COLOURS, charts, drawing
from asterism.report.configuration import configuration
from asterism.report.picture_sheets import cases, previews
from asterism.report.run_facts import facts
from asterism.report.score_tables import score_tables
from asterism.storage.run_folder import Run
from asterism.wording import counted, duration, number


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
    environment.filters |= {"breakable": breakable, "counted": counted, "duration": duration, "number": number}
    environment.filters |= {"drawing": drawing, "colour": colour}
    assets = files("asterism") / "assets"
    held_out, ranked = cases(runs)
    return environment.get_template("page.html.j2").render(
        runs=runs,
        version=__version__,
        style=Markup((assets / "report.css").read_text(encoding="utf-8")),
        script=Markup((assets / "report.js").read_text(encoding="utf-8")),
        facts=facts(runs),
        held_out=held_out,
        scores=score_tables(runs),
        cases=ranked,
        previews=previews(runs),
        charts=charts(runs),
        configuration=configuration(runs),
    )


def breakable(name: str) -> Markup:
    """Return a name that may be broken after its underscores, as labels of data have them."""
    return Markup("<wbr>").join(re.split(r"(?<=_)", name))


def colour(number: int) -> str:
    """Return the colour of a run, or of a term, in CSS."""
    return f"var(--c{number % COLOURS})"
