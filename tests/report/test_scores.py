"""The report's scores: what compares stands in one table, what does not in another, and what a reader sees of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from asterism.report import write_report
from asterism.runs.scores import metric_title
from tests.helpers.reporting import Page, make_run, rows, score, tables


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
        matrix = {"rows": domains, "columns": domains, "values": values}
        about = {name: {"better": better, "unit": "", "meaning": ""} for name, better in (("fid", "lower"), ("kid spread", ""))}
        score(run, metrics=about, matrices={"fid, latent": matrix, "kid spread, latent": matrix})
    source = Page(write_report(runs)).source
    cells = re.findall(r'<td class="value" style="--heat:([\d.]+)">([\d.]+)</td>', source)
    assert cells == [("1.000", "2"), ("0.750", "4"), ("0.000", "10"), ("0.500", "6")]
    assert source.count('class="ramp">10<i></i>2<') == 2
    assert "<span>fid (classifier), latent</span>" in source and "kid spread (classifier), latent" not in source, "nor better"


def test_fid_and_kid_are_inceptions_or_say_whose() -> None:
    named = {"extractor": {"name": "means.pt2"}}
    assert (
        metric_title("kid spread, latent", named) == "kid spread (means.pt2), latent"
        and metric_title("recall", named) == "recall"
    )
    assert metric_title("fid", {"extractor": {"name": "inception"}}) == "fid"


def test_every_table_says_whose_features_fid_compares(tmp_path: Path) -> None:
    run = make_run(tmp_path / "faces")
    values = {"pictures": 9, "values": {"fid": 3.0}}
    matrix = {"rows": ["a"], "columns": ["b"], "values": [[3.0]]}
    fid = {"fid": {"better": "lower", "unit": "", "meaning": "distance", "order": []}}
    score(
        run,
        metrics=fid,
        rows=[{"name": "translated", "kind": "translated", **values}],
        targets={"b": values},
        matrices={"fid": matrix},
    )
    text = Page(write_report([run])).text
    assert text.count("fid (classifier)") == 3 and "| fid |" not in text


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
