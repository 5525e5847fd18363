"""The browser example: its pictures are the library's, its page translates as the translator does and asks nobody."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.data.pictures import PictureFormat
from asterism.inference import fitting
from asterism.inference.images import Picture, fit_in
from asterism.recipes.model import save_model
from tests.helpers.recipes import some_space, tiny

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
DIST = EXAMPLE / "dist"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not here")
@pytest.mark.parametrize("shape", [(37, 53), (90, 41), (20, 12), (32, 32)])
def test_pictures_are_fitted_as_the_library_fits_them(shape: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    code = """
import { letterbox } from SCRIPT;
const x = JSON.parse(await new Response(process.stdin).text());
const own = { ...x, data: Float32Array.from(x.data) };
const { fitted, back } = letterbox(own, 32, 32);
const kept = letterbox(own, 32, 32, true).back({ ...fitted, data: fitted.data.map((value) => value / 2) });
const plain = ({ data, height, width }) => ({ data: [...data], height, width });
console.log(JSON.stringify([fitted, back(fitted), kept].map(plain)));
""".replace("SCRIPT", json.dumps((EXAMPLE / "src" / "pictures.js").as_uri()))
    given = json.dumps({"data": x.flatten().tolist(), "channels": 3, "height": shape[0], "width": shape[1]})
    result = subprocess.run(
        ["node", "--input-type=module", "-e", code], input=given, capture_output=True, text=True, timeout=60, cwd=EXAMPLE
    )
    assert result.returncode == 0, result.stderr
    fitted, box = fitting.letterbox(x, 32, 32)
    taken, keeping = fit_in(Picture(x[0], lambda y: y), PictureFormat(3, 32, 32), "letterbox", torch.device("cpu"), keep=True)
    torch.testing.assert_close(taken, fitted)
    expected = (fitted, fitting.unletterbox(fitted, box, *shape), keeping(fitted / 2).clamp(-1, 1))
    for made, wanted in zip(json.loads(result.stdout), expected, strict=True):
        assert (made["height"], made["width"]) == tuple(wanted.shape[2:])
        np.testing.assert_allclose(made["data"], wanted.flatten(), atol=1e-5)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The built page, served to itself, in Chromium; `requests` holds what it asked for."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    root = tmp_path_factory.mktemp("web")
    shutil.copytree(DIST, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.onnx"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.requests = []
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.home = page.url
        yield page
        browser.close()
    server.shutdown()


def result_of(page: object, count: int) -> np.ndarray:
    """Wait for the page's `count`-th result and return it."""
    page.wait_for_function(f"window.results === {count}", timeout=60_000)
    encoded = page.evaluate("document.getElementById('result').toDataURL()").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")).astype(int)


COUNT = """
window.results = 0;
new MutationObserver(() => { if (/^Done/.test(status.value)) window.results += 1; })
  .observe(document.getElementById("status"), { childList: true, characterData: true, subtree: true });
"""


@pytest.mark.slow
@pytest.mark.skipif(not (DIST / "built.json").exists(), reason="the page is not built: make example")
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here")
@pytest.mark.parametrize("name", ["stargan", "stargan_v2", "pix2pix", "cyclegan"])
def test_the_page_translates_as_the_translator_does(name: str, page: object, tmp_path: Path) -> None:
    from asterism.export.job import export

    recipe = tiny(name, some_space(name, "joint"))
    save_model(tmp_path / "model.safetensors", recipe, name, recipe.state_dict(), info={})
    files = export(tmp_path / "model.safetensors", out=tmp_path / "model.onnx").files
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((50, 37), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "picture.png")

    page.goto(page.home)
    page.evaluate(COUNT.replace("status.value", "document.getElementById('status').value"))
    page.set_input_files("#picture", tmp_path / "picture.png")
    page.set_input_files("#model", [str(path) for path in files.values()])
    first = result_of(page, 1)
    if name == "stargan":
        page.select_option("#choice-0", "fair")  # Glasses stay as the classifier finds them.
        to = "fair"
    else:
        to = recipe.space.domain_names[-1]
        page.select_option("#choice-domain", to)
    y = result_of(page, 2)
    expected = np.asarray(asterism.load(tmp_path / "model.safetensors", "cpu", "float32").translate(picture, to)).astype(int)
    assert y.shape == (37, 50, 3) and np.abs(y - expected).max() <= 1
    assert np.abs(first - y).max() > 1 or name != "stargan_v2", "the choice must matter"
    if name == "stargan_v2":
        page.click("#again")
        assert np.abs(result_of(page, 3) - y).max() > 1
    assert all(url.startswith((page.home, "data:", "blob:")) for url in page.requests)
