"""The report: one file that stands alone, shows what a run folder holds and nothing of the machine it was made on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from asterism.report import write_report
from asterism.report.charts import POINTS
from asterism.report.picture_sheets import MOMENTS
from asterism.storage.run_files import RunError
from tests.helpers.reporting import Page, make_run, score


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
    assert "translated | copy the input | reached | ↑ | found | 93.4% | 1.2% | error ratio" in text
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


def test_a_run_without_sources_and_labels_is_shown(tmp_path: Path) -> None:
    """As of a recipe that makes pictures from noise alone: its sheets have no columns, its scores no targets."""
    run = make_run(tmp_path / "faces")
    (run / "previews" / "targets.json").write_text("[]")
    facts = {"recipe": "dreams", "config": {}, "labels": [], "picture": {"channels": 1, "height": 8, "width": 8}, "info": {}}
    save_file({"generator.a": np.zeros(3, np.float32)}, run / "model.safetensors", {k: json.dumps(v) for k, v in facts.items()})
    fid = {"fid": {"better": "lower", "unit": "", "meaning": "distance", "order": []}}
    made = [
        {"name": kind, "kind": kind, "pictures": 9, "values": {"fid": value}} for kind, value in (("made", 30.0), ("real", 2.0))
    ]
    case = {"title": "pictures", "file": "samples/held_out.png", "columns": [], "caption": "from noise"}
    score(run, metrics=fid, rows=made, targets={}, notes=[], cases=[case])
    page = Page(write_report([run]))
    assert "8 × 8 pixels, 1 channel" in page.text and "step 0 | step 100 | step 200" in page.text and "from noise" in page.text
    assert "Real pictures say what a value means" in page.text and "made | real pictures | fid" in page.text
    assert not re.search("source|transl|Labels|columns:", re.sub("data.sources.*", "", page.text))
    alone = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert alone == ["from noise", "step 0", "step 100", "step 200"]
    assert not [1 for _, attributes in page.elements if attributes.get("class") == "titles"]


def test_damaged_files_do_not_stop_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    (run / "scores.json").write_text('{"rows": [')
    (run / "model.safetensors").write_bytes(b"\x08\0\0")
    (run / "previews" / "notes.png").write_bytes(b"")
    (run / "previews" / "step_00000100.png").write_bytes(b"no picture")
    cut = (run / "previews" / "step_00000200.png").read_bytes()
    (run / "previews" / "step_00000200.png").write_bytes(cut[: len(cut) // 2])
    page = Page(write_report([run]))
    assert "Scores" not in page.text and "200 steps" in page.text
    assert "step 0" in page.text and len([1 for tag, _ in page.elements if tag == "img"]) == 1
    (run / "previews" / "step_00000000.png").write_bytes(b"")
    (run / "scores.json").write_text('{"format": 2}')
    assert not re.search("Scores|Previews", Page(write_report([run])).text)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither config.json nor model.safetensors"):
        write_report([tmp_path])
    with pytest.raises(RunError, match="at least one"):
        write_report([])
    assert not list(tmp_path.iterdir())


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
    assert "train.batch_size | 16 | " in same and "| 16 | 16" not in same and "train.batch_size" not in differing
