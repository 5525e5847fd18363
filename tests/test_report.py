"""The report: one file that stands alone, shows what a run folder holds and nothing of the machine it was made on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from asterism.report import write_report
from asterism.report.curves import POINTS
from asterism.report.pictures import MOMENTS
from asterism.run_folder import RunError

VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """The page's elements and text; fails on markup that is not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " | ".join(self.texts)

    @property
    def charts(self) -> list[dict[str, Any]]:
        found = re.search(r'<script id="charts" type="application/json">(.*?)</script>', self.source)
        assert found
        return json.loads(found[1])


def make_run(folder: Path, *, previews: int = 3, lines: int = 20) -> Path:
    """Write the files that training and evaluation leave, with known values."""
    (folder / "previews").mkdir(parents=True)
    (folder / "samples").mkdir()
    config = {
        "name": "stargan",
        "preset": "small",
        "recipe": {"reconstruction_weight": 7.5},
        "data": {"sources": ["/home/someone/pictures/avatars"], "size": [64, 64], "flip": True},
        "train": {"steps": 2000, "batch_size": 16},
    }
    (folder / "config.json").write_text(json.dumps(config))
    for i in range(previews):
        Image.new("RGB", (64 * 3, 64 * 2), (40 * (i % 6), 90, 90)).save(folder / "previews" / f"step_{i * 100:08}.png")
    (folder / "previews" / "targets.json").write_text(json.dumps(["source", "Blond_Hair", "Smiling"]))
    with open(folder / "log.jsonl", "w") as file:
        for i in range(1, lines + 1):
            terms = {"discriminator/real": -i / 2, "generator/class": 1 / i, "generator/broken": None}
            line = {"step": 10 * i, "images": 160 * i, "seconds": 4.0 * i, "images_per_second": 40.0, "waiting": 0.01}
            file.write(json.dumps({**line, "lr": {"generator": 1e-4}, "terms": terms, "skipped": 2}) + "\n")
        file.write('{"step": 9999, "ima')  # What a kill leaves.
    record = {
        "protocol": "stargan",
        "version": 1,
        "parameters": {},
        "split": "test",
        "checkpoint": "last",
        "step": 200,
        "precision": "float32",
        "extractor": {"name": "classifier", "digest": "0123456789abcdef", "dims": 256},
        "data": "abc",
        "metrics": {
            "reached": {"better": "higher", "unit": "share", "meaning": "found", "order": [["real", "copy"]]},
            "error ratio": {"better": "lower", "unit": "", "meaning": "error", "order": []},
        },
        "rows": [
            {"name": "translated", "kind": "translated", "pictures": 9, "values": {"reached": 0.934, "error ratio": 0.31}},
            {"name": "copy the input", "kind": "copy", "pictures": 9, "values": {"reached": 0.012, "error ratio": None}},
        ],
        "targets": {"Smiling": {"pictures": 9, "values": {"reached": 0.57}}},
        "matrices": {},
        "notes": ["as found by a classifier"],
        "cases": [
            {
                "title": "held-out pictures",
                "file": "samples/held_out.png",
                "columns": ["source", "Blond_Hair", "true"],
                "caption": "never seen in training",
            }
        ],
    }
    scores = {"format": 2, "protocols": {"stargan/classifier/test/last": record}}
    (folder / "scores.json").write_text(json.dumps(scores))
    Image.new("RGB", (64 * 3, 64)).save(folder / "samples" / "held_out.png")
    facts = {
        "recipe": "stargan",
        "config": config["recipe"],
        "labels": [{"dataset": "avatars", "labels": ["Blond_Hair", "Smiling"], "kind": "binary", "exclusive": []}],
        "picture": {"channels": 3, "height": 64, "width": 64},
        "info": {"version": "0.1.0", "licence": "CC0", "data": [{"name": "avatars", "pictures": 1200}]},
    }
    weights = {"generator.a": np.zeros((1000, 1500), np.float32), "discriminator.b": np.zeros((500, 500), np.float16)}
    save_file(weights, folder / "model.safetensors", {key: json.dumps(value) for key, value in facts.items()})
    return folder


def test_the_page_loads_nothing_and_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    page = Page(write_report([make_run(tmp_path / "faces")]))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, name)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|fetch\(|XMLHttpRequest", page.source)
    assert "someone" not in page.source and str(tmp_path) not in page.source


def test_it_says_what_was_trained_on_what_and_how_long(tmp_path: Path) -> None:
    text = Page(write_report([make_run(tmp_path / "faces")])).text
    for words in ("faces", "StarGAN, preset small", "Blond_Hair, Smiling", "1,200 pictures", "64 × 64 pixels, 3 channels"):
        assert words in text
    assert "200 steps, 3,200 pictures" in text and "1 min 20 s, 40 pictures/s" in text
    assert "generator 1.50 M" in text and "2 steps with non-finite values" in text and "CC0" in text


def test_scores_stand_beside_copying_the_input(tmp_path: Path) -> None:
    text = Page(write_report([make_run(tmp_path / "faces")])).text
    assert "translated | copy the input | reached | ↑ | found | 93.4% | 1.2% | \n" in text
    assert "error ratio | ↓ | error | 0.31 | – |" in text
    assert re.search(r"Smiling \| 57\.0%", text) and "as found by a classifier" in text


def test_curves_hold_every_term_by_update(tmp_path: Path) -> None:
    charts = Page(write_report([make_run(tmp_path / "faces")])).charts
    assert [(c["title"], [s["name"] for s in c["series"]]) for c in charts] == [
        ("discriminator", ["real"]),
        ("generator", ["class"]),  # A term without one finite value has no line.
        ("learning rate", ["generator"]),
    ]
    assert charts[0]["series"][0]["points"][:2] == [[10, -0.5], [20, -1.0]] and len(charts[0]["series"][0]["points"]) == 20


def test_a_long_log_is_averaged_down(tmp_path: Path) -> None:
    """0.5, 1.0, 1.5 ... over 5,000 lines: the line stays straight and ends at the last step."""
    charts = Page(write_report([make_run(tmp_path / "faces", lines=5000)])).charts
    points = charts[0]["series"][0]["points"]
    assert POINTS / 2 < len(points) <= POINTS and points[-1][0] == 50_000
    assert points[0][1] == pytest.approx(-np.arange(1, 14).mean() / 2)


def test_previews_are_chosen_evenly_from_first_to_last(tmp_path: Path) -> None:
    page = Page(write_report([make_run(tmp_path / "faces", previews=31)]))
    steps = re.findall(r"step ([\d,]+) \|", page.text.rpartition("Previews")[2].partition("Curves")[0] + " |")
    assert steps == ["0", "600", "1,200", "1,800", "2,400", "3,000"] and len(steps) == MOMENTS
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == MOMENTS + 1 and all("Blond_Hair" in (p["alt"] or "") for p in pictures)
    assert "never seen in training" in page.text


def test_configuration_marks_what_is_not_a_default(tmp_path: Path) -> None:
    page = Page(write_report([make_run(tmp_path / "faces")]))
    assert "recipe.reconstruction_weight | 7.5 | Weight of the reconstruction term" in page.text
    rows = re.findall(r'<tr class="(\w+)"><th scope="row">([\w.]+)</th>', page.source)
    marked = {name for kind, name in rows if kind == "set"}
    assert marked == {"recipe.reconstruction_weight", "data.sources", "data.size", "train.steps"}
    assert {name for _, name in rows} - marked == {"data.flip", "train.batch_size"}


def test_several_runs_share_the_charts_and_the_tables(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "narrow"), make_run(tmp_path / "wide", lines=10)]
    out = write_report(runs)
    page = Page(out)
    assert out == tmp_path / "report.html"
    assert [chart["title"] for chart in page.charts] == ["discriminator: real", "generator: class", "learning rate: generator"]
    assert [(s["name"], len(s["points"])) for s in page.charts[0]["series"]] == [("narrow", 20), ("wide", 10)]
    assert "narrow | translated | wide | translated | copy the input | reached | ↑ | found | 93.4% | 93.4% | 1.2%" in page.text


def test_names_from_the_data_are_text_not_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    evil = "</script><script>alert(1)</script><b>"
    (run / "previews" / "targets.json").write_text(json.dumps(["source", evil, '"onerror="x']))
    with open(run / "log.jsonl", "a") as file:
        line = {
            "step": 500,
            "images": 1,
            "seconds": 1.0,
            "images_per_second": 1.0,
            "lr": {},
            "terms": {f"generator/{evil}": 1.0},
        }
        file.write("\n" + json.dumps(line) + "\n")
    page = Page(write_report([run]))
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 2 and not [
        tag for tag, _ in page.elements if tag == "b"
    ]
    assert evil in page.text and evil in [s["name"] for s in page.charts[1]["series"]]
    assert not [1 for _, attributes in page.elements if "onerror" in attributes]


def test_what_a_run_lacks_is_left_out(tmp_path: Path) -> None:
    """An imported model has no log, no previews and no scores; a run just started has its configuration only."""
    full, imported, started = make_run(tmp_path / "full"), tmp_path / "imported", tmp_path / "started"
    imported.mkdir()
    started.mkdir()
    (full / "model.safetensors").rename(imported / "model.safetensors")
    (full / "config.json").rename(started / "config.json")
    text = Page(write_report([imported])).text
    assert "Blond_Hair, Smiling" in text and "recipe.reconstruction_weight" in text
    assert not re.search("Scores|Previews|Curves|Held-out", text)
    assert "StarGAN, preset small" in Page(write_report([started])).text


def test_damaged_files_do_not_stop_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    (run / "scores.json").write_text('{"rows": [')
    (run / "model.safetensors").write_bytes(b"\x08\0\0")
    (run / "previews" / "notes.png").write_bytes(b"")
    text = Page(write_report([run])).text
    assert "Scores" not in text and "200 steps" in text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither config.json nor model.safetensors"):
        write_report([tmp_path])
    with pytest.raises(RunError, match="at least one"):
        write_report([])
    assert not list(tmp_path.iterdir())


def test_a_failed_report_leaves_the_older_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    older = write_report([run]).read_text()
    (run / "previews" / "step_00000100.png").write_bytes(b"no picture")
    with pytest.raises(OSError):
        write_report([run])
    assert (run / "report.html").read_text() == older
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


# -- scores ------------------------------------------------------------------------------------------------------------


def score(run: Path, **changes: Any) -> None:
    """Write one record of scores like the run's own with some fields changed, beside those that it has."""
    content = json.loads((run / "scores.json").read_text())
    record = {**content["protocols"]["stargan/classifier/test/last"], **changes}
    key = "/".join((record["protocol"], record["extractor"]["name"], record["split"], record["checkpoint"]))
    content["protocols"][key] = record
    (run / "scores.json").write_text(json.dumps(content))


def rows(translated: float, copied: float) -> list[dict[str, Any]]:
    return [
        {"name": "translated", "kind": "translated", "pictures": 9, "values": {"reached": translated}},
        {"name": "copy the input", "kind": "copy", "pictures": 9, "values": {"reached": copied}},
    ]


def tables(page: Page) -> list[str]:
    return re.findall(r'<table class="scores(?: many)?">.*?</table>', page.source, re.DOTALL)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extractor": {"name": "classifier", "digest": "ffff", "dims": 256}}, "extractor classifier 0123456789abcdef and"),
        ({"parameters": {"pictures": 64}}, "pictures None and 64"),
        ({"data": "def"}, "other pictures"),
        (
            {"classifier": {"accuracy": 0.9, "labels": {}, "needed": 0.85, "void": False, "digest": "b"}},
            "classifier None and b",
        ),
        ({"version": 2}, "version 1 and 2"),
    ],
)
def test_numbers_that_do_not_compare_stand_in_tables_of_their_own(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    """A number is underlined as the better one beside its like only."""
    runs = [make_run(tmp_path / "narrow"), make_run(tmp_path / "wide")]
    score(runs[1], rows=rows(0.99, 0.012))
    same = tables(Page(write_report(runs)))
    assert len(same) == 1 and same[0].count("<strong") == 1 and 'title="best of the runs">99.0%</strong>' in same[0]
    score(runs[1], rows=rows(0.99, 0.012), **changes)
    page = Page(write_report(runs))
    apart = tables(page)
    assert len(apart) == 2 and not any("<strong" in table for table in apart)
    assert "Not to be compared with the table above" in page.text and reason in page.text
    assert "narrow" in apart[0] and "wide" in apart[1]


def test_orientation_stands_once_where_it_is_the_same(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "narrow"), make_run(tmp_path / "wide")]
    assert tables(Page(write_report(runs)))[0].count("copy the input") == 1
    score(runs[1], rows=rows(0.9, 0.5))
    assert tables(Page(write_report(runs)))[0].count("copy the input") == 2


def test_what_looks_the_same_is_not_called_better(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "narrow"), make_run(tmp_path / "wide")]
    score(runs[0], rows=rows(0.93401, 0.0))
    score(runs[1], rows=rows(0.93399, 0.0))
    assert "<strong" not in tables(Page(write_report(runs)))[0]


def test_a_classifier_that_is_bad_on_real_pictures_voids_the_table(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    score(run, classifier={"accuracy": 0.71, "labels": {"Smiling": 0.6}, "needed": 0.85, "void": True})
    text = Page(write_report([run])).text
    assert (
        "Void. The classifier is right on 71.0% of the labels of real pictures; below 85% nothing that it says counts." in text
    )
    score(run, classifier={"accuracy": 0.99, "labels": {"Smiling": 0.97}, "needed": 0.85, "void": False})
    text = Page(write_report([run])).text
    assert "Void" not in text and "right on 99.0% of the labels of real pictures, least often on Smiling: 97.0%." in text


def test_matrices_are_heat_maps_whose_stronger_colour_is_better(tmp_path: Path) -> None:
    """Of an error the smallest value has the strongest colour; two runs share the scale."""
    runs = [make_run(tmp_path / "narrow"), make_run(tmp_path / "wide")]
    domains = ["cat", "dog"]
    for run, values in zip(runs, ([[None, 2.0], [4.0, None]], [[None, 10.0], [6.0, None]]), strict=True):
        score(run, matrices={"error ratio": {"rows": domains, "columns": domains, "values": values}})
    source = Page(write_report(runs)).source
    cells = re.findall(r'<td class="value" style="--heat:([\d.]+)">([\d.]+)</td>', source)
    assert cells == [("1.000", "2"), ("0.750", "4"), ("0.000", "10"), ("0.500", "6")]
    assert source.count('class="ramp">10<i></i>2<') == 2


def test_cases_stand_under_their_titles_and_a_sheet_only_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    cases = [{"title": "held-out pictures", "file": "samples/held_out.png", "columns": ["source"], "caption": "unseen"}]
    for name in ("best", "worst"):
        Image.new("RGB", (64, 128), (200, len(name) * 10, 0)).save(run / "samples" / f"{name}.png")
        cases.append(
            {"title": f"{name} cases", "file": f"samples/{name}.png", "columns": ["dog"], "caption": f"{name} by error"}
        )
    score(run, cases=cases)
    score(run, protocol="truth", cases=cases)
    page = Page(write_report([run]))
    assert page.text.count("unseen") == page.text.count("best by error") == page.text.count("worst by error") == 1
    assert page.text.index("Best cases") < page.text.index("best by error") < page.text.index("Worst cases")


def test_scores_over_training_are_charts_with_the_best_marked(tmp_path: Path) -> None:
    """A step's line of scores may stand alone, as when it was evaluated between two lines of the log."""
    run = make_run(tmp_path / "faces")
    with open(run / "log.jsonl", "a") as file:
        for step, value in ((100, 0.5), (205, 0.9)):
            file.write(f"\n{json.dumps({'step': step, 'scores': {'reached': value, 'fid': None}, 'evaluation_seconds': 61.0})}")
    facts = {
        "recipe": "stargan",
        "config": {},
        "info": {"step": 205, "criterion": "reached", "scores": {"reached": 0.9}},
    }
    save_file({"generator.a": np.zeros(3, np.float32)}, run / "model.safetensors", {k: json.dumps(v) for k, v in facts.items()})
    page = Page(write_report([run]))
    assert [chart["title"] for chart in page.charts][:2] == ["reached", "discriminator"]
    assert page.charts[0]["series"][0]["points"] == [[100, 0.5], [205, 0.9]] and page.charts[0]["unit"] == "share"
    assert [mark["step"] for mark in page.charts[0]["marks"]] == [205]
    assert "200 steps, 3,200 pictures" in page.text and "2 times, 2 min 02 s beside" in page.text
    assert "step 205, the best by reached: 0.9" in page.text


def test_configurations_are_compared(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a" / "faces"), make_run(tmp_path / "b" / "faces")]
    config = json.loads((runs[1] / "config.json").read_text())
    config["recipe"] = {"conv_dim": 48, **config["recipe"]}
    config["train"]["steps"] = 5000
    (runs[1] / "config.json").write_text(json.dumps(config))
    text = Page(write_report(runs)).text.rpartition("Configuration")[2]
    differing, _, same = text.partition("the same in all runs")
    assert "faces (1) | faces (2)" in differing
    assert "recipe.conv_dim | – | 48" in differing and "train.steps | 2,000 | 5,000" in differing
    assert "train.batch_size | 16 | 16" in same and "train.batch_size" not in differing


# -- in a browser --------------------------------------------------------------------------------------------------------

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255).map(
      (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll(".heat .value")].map((cell) => {
    const look = getComputedStyle(cell), [a, b] = [light(look.color), light(look.backgroundColor)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two runs with everything that a report may hold."""
    root = tmp_path_factory.mktemp("rich")
    runs = [make_run(root / "narrow"), make_run(root / "wide")]
    domains = [f"domain_{i}" for i in range(11)]
    values = [[None if i == j else (i * 11 + j) / 121 for j in range(11)] for i in range(11)]
    for run in runs:
        score(run, matrices={"reached": {"rows": domains, "columns": domains, "values": values}})
    return write_report(runs)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_requests_errors_or_overflow(browser: Any, rich: Path, scheme: str) -> None:
    """On a desk and on a phone; the values of a heat map have the contrast that WCAG AA asks of small text, 4.5."""
    for width in (1280, 380):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        requests, errors = [], []
        page.on("request", lambda request, to=requests: to.append(request.url))
        page.on("console", lambda message, to=errors: to.append(message.text))
        page.on("pageerror", lambda error, to=errors: to.append(str(error)))
        page.goto(rich.as_uri())
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == [] and errors == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert min(page.evaluate(CONTRAST)) >= 4.5
        page.close()


def test_the_curves_answer_to_the_pointer(browser: Any, rich: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(rich.as_uri())
    chart = page.locator(".chart").first
    chart.locator("> svg").hover()
    assert re.search(r"step\s*\d+.*narrow\s*-\d.*wide\s*-\d", chart.locator(".tip").inner_text(), re.DOTALL)
    assert chart.locator(".line").count() == 2
    chart.get_by_role("button", name="wide").click()
    assert chart.locator(".line").count() == 1
    before = chart.locator(".line").get_attribute("d")
    chart.get_by_role("button", name="log").click()
    assert chart.locator(".line").get_attribute("d") != before
    page.locator(".sheet img").first.press("Enter")
    assert page.locator("dialog img").is_visible()
    page.close()


def test_it_can_be_read_without_scripts_and_printed(browser: Any, rich: Path) -> None:
    """Curves are drawn, tables are there; on paper, what is folded on the screen is open."""
    still = browser.new_page(java_script_enabled=False)
    still.goto(rich.as_uri())
    assert still.locator(".chart > svg .line").count() == 6 and still.locator(".scores").is_visible()
    still.close()
    page = browser.new_page()
    page.goto(rich.as_uri())
    page.evaluate(
        "window.addEventListener('beforeprint', () => {"
        "window.printed = document.querySelectorAll('details:not([open])').length})"
    )
    assert page.locator("details:not([open])").count() == 1
    assert page.pdf().startswith(b"%PDF") and page.evaluate("window.printed") == 0
    page.close()
