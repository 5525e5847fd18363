"""The studio in a browser, as a person uses it, for a model of labels and a model of styles. Nothing is fetched elsewhere."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import asterism
from asterism.labels import LabelSpace
from asterism.recipes.model import save_model
from tests.helpers.recipes import tiny
from tests.helpers.serving import coded, noise, opened

pytest.importorskip("gradio", reason="the studio needs the extra: asterism[serve]")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="browser tests need chromium on the path")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of random weights: `faces` with labels, `dogs` with styles."""
    root = tmp_path_factory.mktemp("runs")
    for name, recipe, groups in (
        ("faces", "stargan", "faces:binary:Black_Hair,Blond_Hair,Glasses,Young"),
        ("dogs", "stargan_v2", "data:one_of:cat,dog"),
    ):
        made = tiny(recipe, LabelSpace.from_text(groups))
        save_model(root / name / "model.safetensors", made, recipe, made.state_dict(), info={"step": 1})
    return root


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "asterism", "serve", str(runs / "faces"), str(runs / "dogs"), "--port", "0"]
    command += ["--precision", "float32"]
    environment = {**os.environ, "PYTHONPATH": str(Path(asterism.__file__).parents[1])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    said = process.stdout.readline()
    yield re.search(r"http://[\d.:]+", said)[0]  # type: ignore[index]
    process.terminate()
    process.wait(30)


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """A page of the studio; at the end nothing may have been fetched from elsewhere, nor any script have failed."""
    elsewhere, failed = [], []
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened_page = browser.new_page(viewport={"width": 1280, "height": 900})
        opened_page.set_default_timeout(60_000)
        own = (address, "data:", "blob:")
        opened_page.on("request", lambda r: None if r.url.startswith(own) else elsewhere.append(r.url))
        opened_page.on("pageerror", lambda error: failed.append(str(error)))
        opened_page.on("response", lambda r: failed.append(f"{r.status} {r.url}") if is_failure(r) else None)
        opened_page.goto(address)
        opened_page.wait_for_selector("#source input[type=file]", state="attached")
        yield opened_page
        browser.close()
    assert not elsewhere and not failed, (elsewhere, failed)


def is_failure(response: Any) -> bool:
    """Whether an answer should not have come; the preview of a picture that was refused is not there, which is right."""
    return response.status >= 400 and not (response.status == 404 and "/gradio_api/file=" in response.url)


def saved(page: Any, link: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return Path(download.value.path()).read_bytes()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).locator("visible=true").click()


def choose_picture(page: Any, picture: np.ndarray, field: str = "#source") -> None:
    file = {"name": "me.png", "mimeType": "image/png", "buffer": coded(picture)}
    page.set_input_files(f"{field} input[type=file]", file)
    page.wait_for_selector(f"{field} img")


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


def becomes(page: Any, expected: np.ndarray) -> bool:
    """Whether the result becomes this one: what an earlier control asked for may be shown before."""
    for _ in range(20):
        if close(opened(saved(page, "Download")), expected):
            return True
        page.wait_for_timeout(500)
    return False


def test_a_model_of_labels(page: Any, runs: Path) -> None:
    model, picture = asterism.load(runs / "faces", device="cpu", precision="float32"), noise(48, 40)
    choose_picture(page, picture)
    page.get_by_label("Blond Hair", exact=True).locator("visible=true").check()
    glasses = page.get_by_label("Glasses", exact=True).locator("visible=true")
    page.wait_for_timeout(1500)  # Until the switches stand as the model reads the picture.
    had = glasses.is_checked()
    glasses.click()
    press(page, "Translate")
    page.wait_for_selector(".triptych img >> nth=2")
    result = opened(saved(page, "Download"))
    assert close(result, model.translate(picture, {"Blond_Hair": True, "Glasses": not had}))
    press(page, "Every target")
    page.wait_for_selector("#strip img >> nth=3")
    assert page.locator("#strip img").count() == 4

    page.get_by_role("tab", name="Batch").click()
    pictures = [noise(32, 32, seed) for seed in range(3)]
    files = [{"name": f"p{i}.png", "mimeType": "image/png", "buffer": coded(p)} for i, p in enumerate(pictures)]
    files.append({"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"})
    page.set_input_files("#pictures input[type=file]", files)
    page.get_by_label("no Glasses").locator("visible=true").check()
    page.locator("#pictures").get_by_text("broken").first.wait_for()
    press(page, "Translate all")
    page.wait_for_selector(".batch")
    assert "broken.png" in page.locator(".left-out").inner_text()
    archive = zipfile.ZipFile(io.BytesIO(saved(page, "Download zip")))
    assert sorted(archive.namelist()) == [f"p{i}__Glasses-no.png" for i in range(3)]
    assert close(opened(archive.read("p1__Glasses-no.png")), model.translate(pictures[1], "Glasses=no"))

    page.get_by_role("tab", name="Model").click()
    assert "stargan" in page.locator(".model").inner_text()


def test_a_model_of_styles(page: Any, runs: Path) -> None:
    model, picture, reference = asterism.load(runs / "dogs", "cpu", "float32"), noise(32, 32), noise(32, 32, 9)
    page.locator("#model input").click()
    page.get_by_role("option", name="dogs").click()
    choose_picture(page, picture)
    page.get_by_label("dog", exact=True).locator("visible=true").check()
    press(page, "Translate")
    page.wait_for_selector(".triptych img >> nth=2")
    assert close(opened(saved(page, "Download")), model.translate(picture, "dog", style=1))
    page.get_by_label("reference picture").locator("visible=true").first.check()
    choose_picture(page, reference, "#reference")
    page.get_by_text("Between two styles").locator("visible=true").click()
    slider = page.locator("#blend input[type=range]")
    before = page.locator(".triptych img >> nth=1").get_attribute("src")
    slider.fill("0.5")
    slider.dispatch_event("pointerup")
    page.wait_for_function("(src) => document.querySelectorAll('.triptych img')[1].src !== src", arg=before)
    between = model.between(Image.fromarray(reference), 2, 0.5)
    assert becomes(page, model.translate(picture, "dog", style=between))


def test_what_cannot_be_used_is_said(page: Any) -> None:
    file = {"name": "me.png", "mimeType": "image/png", "buffer": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
    page.set_input_files("#source input[type=file]", file)
    page.get_by_text("This is no PNG, JPEG, WebP or TIFF picture but an SVG").first.wait_for()
