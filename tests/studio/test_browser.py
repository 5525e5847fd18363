"""The studio in a browser, as a person uses it, for models of labels, styles and voices. Nothing is fetched elsewhere."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

import asterism
from asterism.inference.voices import Voices
from asterism.labels import LabelSpace
from asterism.recipes.model import save_model
from tests.helpers.pictures import coded, noise, opened
from tests.helpers.recipes import tiny
from tests.helpers.voices import save_voices, tone

pytest.importorskip("gradio", reason="the studio needs the extra: asterism[studio]")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="browser tests need chromium on the path")

NAME, PASSWORD = "me", "my secret"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of random weights: `faces` with labels, `dogs` with styles, `voices`."""
    root = tmp_path_factory.mktemp("runs")
    for name, recipe, groups in (
        ("faces", "stargan", "faces:binary:Black_Hair,Blond_Hair,Glasses,Young"),
        ("dogs", "stargan_v2", "data:one_of:cat,dog"),
    ):
        made = tiny(recipe, LabelSpace.from_text(groups))
        save_model(root / name / "model.safetensors", made, recipe, made.state_dict(), info={"step": 1})
    save_voices(root / "voices")
    return root


@pytest.fixture(scope="module")
def address(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the studio answers; when a signal has ended it, nothing of what it was given may be left."""
    place = tmp_path_factory.mktemp("tmp")
    models = [str(runs / name) for name in ("faces", "dogs", "voices")]
    command = [sys.executable, "-m", "asterism", "studio", *models, "--precision", "float32"]
    command += ["--login", f"{NAME}:{PASSWORD}", "--max-upload", "0.5"]
    environment = {**os.environ, "PYTHONPATH": str(Path(asterism.__file__).parents[1]), "TMPDIR": str(place)}
    environment.pop("GRADIO_TEMP_DIR", None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    said = process.stdout.readline()
    yield re.search(r"http://[\d.:]+", said)[0]  # type: ignore[index]
    assert list(place.glob("asterism-studio-*/**/*.png"))
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM and not list(place.glob("asterism-studio-*"))


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
        opened_page.goto(address)
        opened_page.get_by_label("username").fill(NAME)
        opened_page.get_by_label("password").fill(PASSWORD)
        opened_page.get_by_role("button", name="Login").click()
        opened_page.wait_for_selector("#source input[type=file]", state="attached")
        opened_page.on("response", lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        yield opened_page
        browser.close()
    assert not elsewhere and not failed, (elsewhere, failed)


def saved(page: Any, button: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return Path(download.value.path()).read_bytes()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).locator("visible=true").click()


def choose_picture(page: Any, picture: np.ndarray, field: str = "#source") -> None:
    file = {"name": "me.png", "mimeType": "image/png", "buffer": coded(picture)}
    page.set_input_files(f"{field} input[type=file]", file)
    page.wait_for_selector(f"{field} img")


def becomes(page: Any, expected: np.ndarray) -> bool:
    """Whether the result becomes this one: what an earlier control asked for may be shown before."""
    page.wait_for_selector("#result img >> nth=2")
    for _ in range(120):
        result = opened(saved(page, "Download the result"))
        if result.shape == expected.shape and int(np.abs(result.astype(int) - expected.astype(int)).max()) <= 1:
            return True
        page.wait_for_timeout(500)
    return False


def test_a_model_of_labels(page: Any, runs: Path) -> None:
    model, picture = asterism.load(runs / "faces", device="cpu", precision="float32"), noise(48, 40)
    choose_picture(page, picture)
    page.get_by_label("Blond Hair", exact=True).locator("visible=true").first.check()
    glasses = page.get_by_label("Glasses", exact=True).locator("visible=true").first
    page.wait_for_timeout(2000)  # Until the boxes stand as the model reads the picture.
    had = glasses.is_checked()
    glasses.click()
    press(page, "Translate")
    assert becomes(page, model.translate(picture, {"Blond_Hair": True, "Glasses": not had}))
    press(page, "Every target")
    page.wait_for_selector("#strip img >> nth=3")
    assert page.locator("#strip img").count() == 4

    page.get_by_role("tab", name="Batch").click()
    pictures = [noise(32, 32, seed) for seed in range(3)]
    files = [{"name": f"p{i}.png", "mimeType": "image/png", "buffer": coded(p)} for i, p in enumerate(pictures)]
    files.append({"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"})
    page.set_input_files("#pictures input[type=file]", files)
    page.locator("#pictures").get_by_text("broken").first.wait_for()
    page.get_by_label("no Glasses").check()
    press(page, "Translate all")
    page.get_by_text("3 of 4 pictures, each to 1 of the targets").wait_for()
    assert "broken.png" in page.locator("#left-out").inner_text()
    archive = zipfile.ZipFile(io.BytesIO(saved(page, "Download the zip")))
    assert sorted(archive.namelist()) == [f"p{i}__no-Glasses.png" for i in range(3)]
    expected = model.translate(pictures[1], "Glasses=no").astype(int)
    assert np.abs(opened(archive.read("p1__no-Glasses.png")).astype(int) - expected).max() <= 1

    page.get_by_role("tab", name="Model").click()
    page.get_by_text("any of Glasses, Young").wait_for()


def test_a_model_of_styles(page: Any, runs: Path) -> None:
    model, picture, reference = asterism.load(runs / "dogs", "cpu", "float32"), noise(32, 32), noise(32, 32, 9)
    page.locator("#model input").click()
    page.get_by_role("option", name="dogs").click()
    choose_picture(page, picture)
    page.get_by_label("dog", exact=True).locator("visible=true").check()
    press(page, "Translate")
    assert becomes(page, model.translate(picture, "dog", style=1))
    page.get_by_label("reference picture").locator("visible=true").first.check()
    choose_picture(page, reference, "#reference")
    page.get_by_text("Between two styles").click()
    slider = page.locator("#blend input[type=range]")
    for _ in range(60):  # The page may still lay out what it was given before, and then forgets.
        slider.fill("0.5")
        page.wait_for_timeout(1000)
        if page.locator("#blend input[type=number]").input_value() == "0.5":
            break
    slider.dispatch_event("pointerup")
    assert becomes(page, model.translate(picture, "dog", style=model.between(Image.fromarray(reference), 2, 0.5)))


def test_a_model_of_voices(page: Any, runs: Path) -> None:
    """The result can be played and saved beside its source, and is what Python gives."""
    clip, file = tone(220, 0.6, 22_050), io.BytesIO()
    soundfile.write(file, clip, 22_050, format="WAV")
    page.locator("#model input").click()
    page.get_by_role("option", name="voices").click()
    page.get_by_role("tab", name="Voice").click()
    file.seek(0)
    page.set_input_files("#recording input[type=file]", {"name": "me.wav", "mimeType": "audio/wav", "buffer": file.getvalue()})
    page.get_by_label("bob", exact=True).locator("visible=true").check()
    press(page, "Translate")
    page.wait_for_selector("#voice-result-mel img")
    page.wait_for_selector("#voice-source button[aria-label=Play]")
    with page.expect_download() as download:
        page.locator("#voice-result a[download]").click()
    made, rate = soundfile.read(Path(download.value.path()), dtype="float32")
    expected = Voices(asterism.load(runs / "voices", "cpu", "float32")).translate(soundfile.read(file)[0], 22_050, "bob")
    assert (download.value.suggested_filename, rate, made.shape) == ("me__bob.wav", 22_050, clip.shape)
    assert np.abs(made - expected).max() < 1e-2


def test_what_cannot_be_used_is_said(page: Any) -> None:
    press(page, "Translate")
    page.get_by_text("Add a picture first").first.wait_for()
    file = {"name": "me.png", "mimeType": "image/png", "buffer": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
    page.set_input_files("#source input[type=file]", file)
    page.get_by_text("It is not a readable picture").first.wait_for()


def test_strangers_see_nothing_and_friends_only_their_own(address: str, runs: Path) -> None:
    """Without the login there is no page; with it neither files of this machine nor files beyond the limit pass."""
    with httpx.Client(base_url=address) as web:
        for path in ("/config", "/gradio_api/info", f"/gradio_api/file={runs / 'faces' / 'model.safetensors'}"):
            assert web.get(path).status_code == 401, path
        assert web.post("/login", data={"username": NAME, "password": "guess"}).status_code == 400
        assert web.post("/login", data={"username": NAME, "password": PASSWORD}).status_code == 200
        assert web.get("/config").status_code == 200
        for path in (runs / "faces" / "model.safetensors", "/etc/passwd", "../../etc/passwd"):
            assert web.get(f"/gradio_api/file={path}").status_code in (403, 404), path
        assert web.post("/gradio_api/upload", files={"files": ("me.png", b"x" * 600_000)}).status_code == 413
