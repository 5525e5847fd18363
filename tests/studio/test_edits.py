"""The studio's tabs for models that generate: an edit from its start to the photograph, without and with a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import asterism
from asterism.config import ConfigError
from tests.helpers.generating import save_dcgan

pytest.importorskip("gradio", reason="the studio needs the extra: asterism[studio]")

import gradio as gr

from asterism.studio import build, edits
from asterism.studio.models import StudioModel, load_models
from asterism.studio.warp_pad import warps

STROKES = '{"picture": "", "strokes": [[0.25, 0.0, 0.75, 0.99]]}'
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudioModel:
    """A loaded model that generates."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    (tmp_path / "gradio").mkdir()
    (loaded,) = load_models([save_dcgan(tmp_path / "noise")], "cpu", "float32")
    return loaded


def stroke(colour: tuple[int, int, int]) -> np.ndarray:
    """A layer of the editor with one stroke."""
    layer = np.zeros((384, 384, 4), np.uint8)
    layer[100:200, 80:300] = (*colour, 255)
    return layer


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "drag something on the picture first"),
        ('{"strokes": [[0, 0, 0]]}', "a stroke leaves the picture"),
        ('{"strokes": [[0, 0, 0, 1.5]]}', "a stroke leaves the picture"),
        ('{"strokes": [["a", 0, 0, 0]]}', "the strokes cannot be read"),
        ("[]", "the strokes cannot be read"),
        (json.dumps({"strokes": [[0, 0, 0, 0]] * 17}), "at most 16 times; there are 17"),
    ],
)
def test_strokes_that_are_no_warp_are_refused_in_a_sentence(value: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        warps(value, 32, 32)


def test_an_edit_goes_from_a_photograph_through_a_choice_and_back_to_the_photograph(model: StudioModel, tmp_path: Path) -> None:
    photo = tmp_path / "me.png"
    model.translator.generate(seeds=[5])[0].resize((48, 40)).save(photo)
    desk = edits.begin(model, str(photo), 0, None)
    assert edits.shown(model, desk).size == (384, 384)
    with pytest.raises(ConfigError, match="begin with a photograph and edit it first"):
        edits.photograph(model, desk)
    with pytest.raises(ConfigError, match="draw something"):
        edits.drawn([np.zeros((9, 9, 4), np.uint8)])
    strokes = edits.drawn([stroke((255, 0, 0)), stroke((0, 0, 0)) * 0])
    assert tuple(strokes[150, 150]) == (255, 0, 0, 255) and strokes[0, 0, 3] == 0
    desk = edits.with_strokes(model, desk, paint=strokes, candidates=4, steps=5)
    assert desk.edited is not None
    desk = edits.chosen(desk, 1)
    assert (desk.code == desk.edited.codes[1]).all()
    first, last = (edits.between(model, desk, share) for share in (0.0, 1.0))
    (start,) = model.translator.generate(code=desk.start)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(edits.enlarged(model, start))).max() <= 1
    assert np.abs(np.asarray(last).astype(int) - np.asarray(edits.shown(model, desk))).max() <= 1
    again = edits.with_strokes(model, desk, sketch=strokes, candidates=2, steps=2)
    moved = edits.with_strokes(model, desk, warp=warps(STROKES, 16, 16), candidates=2, steps=1)
    own = model.translator.edit(desk.code, warp=[(4, 0, 12, 15)], candidates=2, steps=1)
    assert moved.edited is not None and moved.edited.costs == pytest.approx(own.costs)
    assert again.edited is not None and (again.edited.start == desk.code).all()
    assert Image.open(edits.photograph(model, again)).size == (48, 40)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a studio of a model that generates answers."""
    run = save_dcgan(tmp_path / "noise")
    command = [sys.executable, "-m", "asterism", "studio", str(run), "--precision", "float32", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(Path(asterism.__file__).parents[1]), "TMPDIR": str(tmp_path)}
    environment.pop("GRADIO_TEMP_DIR", None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    yield re.search(r"http://[\d.:]+", process.stdout.readline())[0]  # type: ignore[index]
    process.terminate()
    process.wait(120)


@pytest.mark.skipif(CHROMIUM is None, reason="browser tests need chromium on the path")
def test_strokes_of_a_mouse_make_candidates(address: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
    failed: list[str] = []
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        page.get_by_role("tab", name="Edit").click()
        page.locator("#begin").click()
        canvas = page.locator("#canvas canvas").first
        page.wait_for_timeout(4000)
        box: Any = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 60, y)
        page.mouse.down()
        for step in range(12):
            page.mouse.move(x - 60 + 10 * step, y + 5 * (step % 3))
        page.mouse.up()
        page.wait_for_timeout(1500)
        page.locator("#edit").click()
        page.locator("#candidates img").first.wait_for()
        assert page.locator("#candidates img").count() >= 1
        page.locator("#candidates button.thumbnail-item, #candidates .grid-container button").first.click()
        page.locator("#way img").wait_for()
        # The warp brush: the second stroke stays, the first one is cleared.
        page.locator("#brush").get_by_label("a warp").check()
        page.locator("#pad .pad img").wait_for()
        page.wait_for_timeout(2000)
        for x, y, x2, y2 in ((0.5, 0.5, 0.2, 0.9), (0.5, 0.25, 0.75, 0.5)):
            page.locator("#pad .pad").scroll_into_view_if_needed()
            page.wait_for_timeout(800)
            pad: Any = page.locator("#pad .pad").bounding_box()
            page.mouse.move(pad["x"] + x * pad["width"], pad["y"] + y * pad["height"])
            page.mouse.down()
            page.mouse.move(pad["x"] + 0.4 * pad["width"], pad["y"] + 0.4 * pad["height"], steps=4)
            page.mouse.move(pad["x"] + x2 * pad["width"], pad["y"] + y2 * pad["height"], steps=4)
            page.mouse.up()
            page.locator("#pad i").wait_for()
            if y2 == 0.9:
                page.locator("#pad .clear").click()
                page.locator("#pad i").wait_for(state="detached")
        assert page.locator("#pad line").count() == 1
        ends = [float(page.locator("#pad line").get_attribute(name)) for name in ("x1", "y1", "x2", "y2")]
        assert ends == pytest.approx([50, 25, 75, 50], abs=1.5)
        said = page.locator("#candidates").inner_text()
        page.locator("#edit").click()
        page.wait_for_function("said => document.querySelector('#candidates').innerText !== said", arg=said)
        page.locator("#candidates button.thumbnail-item, #candidates .grid-container button").first.click()
        page.locator("#pad line").wait_for(state="detached")  # The stroke was granted: the field shows the candidate.
        browser.close()
    assert not failed


def test_models_of_both_kinds_share_a_page(model: StudioModel, trained: Path, tmp_path: Path) -> None:
    page = build([tmp_path / "noise", trained], device="cpu", precision="float32")
    tabs = [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert tabs == ["Translate", "Batch", "Generate", "Edit", "Model"]
    alone = build([tmp_path / "noise"], device="cpu", precision="float32")
    assert [b.label for b in alone.blocks.values() if isinstance(b, gr.Tab)] == ["Generate", "Edit", "Model"]
