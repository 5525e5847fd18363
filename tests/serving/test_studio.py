"""The studio without a browser: what passes to Gradio, what the controls say, what the page shows."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest

from asterism.data.pictures import PictureFormat
from asterism.serving.hosted import Hosted
from asterism.serving.limits import Refused
from asterism.serving.vault import Vault, safe_title
from tests.helpers.serving import client, coded, noise, opened, service, translator

pytest.importorskip("gradio", reason="the studio needs the extra: asterism[serve]")

import gradio as gr

from asterism.serving.studio import stems
from asterism.serving.studio_controls import AS_IT_IS, make_controls
from asterism.serving.studio_html import HEAT, difference, model_page, triptych


def test_only_what_the_page_needs_passes_to_gradio(tmp_path: Any) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(coded(noise()))
    with client(studio=True) as web:
        assert web.get("/").status_code == web.get("/config").status_code == web.get("/theme.css").status_code == 200
        for path in ("proxy=http://example.com/", "vibe-code", "info", "runs", "openapi.json", "stream/a/b/c/playlist.m3u8"):
            answer = web.get(f"/gradio_api/{path}")
            assert answer.status_code == (200 if path == "info" else 404), path
        for path in (
            "/monitoring/summary",
            "/gradio_api/deep_link",
            "/login",
            "/assets/..%2f..%2froutes.py",
            "/docs",
            "/nothing",
        ):
            assert web.get(path).status_code == 404, path
        assert web.get("/assets/..%2f..%2froutes.py").status_code in (403, 404)
        for path in ("run/predict", "call/predict", "component_server", "process_recording", "vibe-edit"):
            assert web.post(f"/gradio_api/{path}", json={}).status_code == 404, path
        for name in (str(secret), "/etc/passwd", "../../etc/passwd", "/tmp/gradio/vault/x/y.png"):
            assert web.get(f"/gradio_api/file={name}").status_code == 404, name
            event = {"data": [{"path": name, "meta": {"_type": "gradio.FileData"}}], "fn_index": 0, "session_hash": "a"}
            refused = web.post("/gradio_api/queue/join", json=event)
            assert refused.status_code == 400 and name not in refused.text


def test_uploads_of_the_page_are_checked_and_stay_in_memory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with client(studio=True) as web:
        files = [("files", ("../../me.png", coded(noise()))), ("files", ("a.svg", b"<svg/>"))]
        good, bad = web.post("/gradio_api/upload", files=files).json()
        assert good.endswith("/me.png") and not list(tmp_path.iterdir())
        kept = web.get(f"/gradio_api/file={good}")
        assert kept.content == coded(noise()) and kept.headers["content-type"] == "image/png"
        assert web.get(f"/gradio_api/file={bad}").status_code == 404, "of a refused file only the reason is kept"
        config = web.get("/config").json()
        reads = next(d for d in config["dependencies"] if d["targets"][0][1] == "change" and len(d["inputs"]) == 2)
        event = {
            "fn_index": reads["id"],
            "session_hash": "s",
            "data": ["faces", {"path": bad, "meta": {"_type": "gradio.FileData"}}],
        }
        assert web.post("/gradio_api/queue/join", json=event).status_code == 200
        with web.stream("GET", "/gradio_api/queue/data", params={"session_hash": "s"}) as answers:
            said = next(line for line in answers.iter_lines() if "process_completed" in line)
        assert "no PNG, JPEG, WebP or TIFF picture but an SVG" in json.loads(said.removeprefix("data: "))["output"]["error"]


def test_the_page_names_nothing_elsewhere() -> None:
    """What a browser would load: scripts, styles, fonts and pictures are this server's."""
    with client(studio=True) as web:
        page = web.get("/").text
        config = web.get("/config").json()
        theme = web.get("/theme.css").text
    head = page[: page.index("window.gradio_config")]
    assert "https://" not in "".join(part for part in head.split("<") if part.startswith(("script", "link")))
    assert "http" not in theme.replace("http://www.w3.org/", "") and config["analytics_enabled"] is False
    assert not config.get("stylesheets"), "no font is fetched"


def controls(groups: str, recipe: str = "stargan") -> Any:
    with gr.Blocks():
        return make_controls(Hosted("m", translator(recipe, groups), None), Vault("/vault", 1000))


def values(made: Any, **said: Any) -> list[Any]:
    """The fields as they stand at first, but for those that are named by their label."""
    result = [component.value for component in made.fields]
    for i, (_, what) in enumerate(made.kinds):
        key = what if isinstance(what, str) else what[0]
        if key in said:
            result[i] = said[key]
    return result


def test_controls_follow_the_label_space() -> None:
    made = controls("faces:binary:Black_Hair,Blond_Hair,Glasses,Young;moods:one_of:happy,sad")
    shown = [(type(c).__name__, c.label) for c in made.fields]
    assert shown[:4] == [("Radio", "Hair"), ("Checkbox", "Glasses"), ("Checkbox", "Young"), ("Radio", "moods")]
    own = {"Black_Hair": True, "Blond_Hair": False, "Glasses": False, "Young": True, "happy": True, "sad": False}
    assert made.wish(values(made, Glasses=True, Young=True), own).to == [{"Glasses": True}], "a switch as it was is no wish"
    assert made.wish(values(made, Black_Hair="Blond_Hair", Young=True), own).to == [{"Blond_Hair": True}]
    assert made.wish(values(made, happy="sad", Young=False), own).to == [{"sad": True, "Young": False}]
    assert made.wish(values(made, Young=True), own).to == [{"Black_Hair": True, "Glasses": False, "Young": True}]
    assert made.every_target(own) == [
        {"Black_Hair": True},
        {"Blond_Hair": True},
        {"Glasses": True},
        {"Young": False},
        {"happy": True},
        {"sad": True},
    ]
    with pytest.raises(Refused, match="choose"):
        controls("a:one_of:x,y;b:one_of:u,v").wish([AS_IT_IS, AS_IT_IS, "letterbox"], {})


def test_controls_of_styles() -> None:
    made = controls("data:one_of:cat,dog", "stargan_v2")
    assert [c.label for c in made.fields][:3] == ["Domain", "Style", "Seed"]
    wish = made.wish(values(made, seed=7, strength=0.5), {})
    assert (wish.to, wish.style, wish.strength, wish.weight, wish.toward) == ([{"cat": True}], 7, 0.5, 0.0, None)
    wish = made.wish(values(made, cat="dog", weight=0.25, seed2=9), {})
    assert (wish.to, wish.weight, wish.toward) == ([{"dog": True}], 0.25, 9)
    with pytest.raises(Refused, match="reference picture"):
        made.wish(values(made, kind="reference picture"), {})


def test_every_wish_of_the_controls_can_be_fulfilled() -> None:
    """What the controls say, the model understands: for exclusive labels, two datasets, and styles."""
    faces = {"Black_Hair": True, "Blond_Hair": False, "Glasses": False, "happy": False, "sad": True}
    both = "faces:binary:Black_Hair,Blond_Hair,Glasses;moods:one_of:happy,sad"
    cases = (("stargan", both, faces), ("stargan_v2", "d:one_of:a,b", {}))
    for recipe, groups, own in cases:
        model = translator(recipe, groups)
        served = service(m=model)
        made = controls(groups, recipe)
        wishes = [made.wish(values(made), own), made.wish(values(made), own, made.every_target(own))]
        for wish in wishes:
            targets, _ = served.model("m").read(wish, served.limits)
            assert len(targets) == len(wish.to)
        served.close()


def test_difference_shows_where_something_changed() -> None:
    source = np.zeros((4, 4, 3), np.uint8)
    result = source.copy()
    result[1, 2, 0], result[3, 3, 1] = 64, 255
    shown = difference(np.abs(result.astype(np.int32) - source), 255).astype(int).sum(2)
    assert shown[3, 3] > shown[1, 2] > shown[0, 0]
    assert len(np.unique(shown[(source == result).all(2)])) == 1


def test_a_result_is_shown_over_the_value_range() -> None:
    """12-bit values in 16-bit files, four channels: neither black nor transparent, and the change a share of the range."""
    picture = PictureFormat(4, 4, 4, high=4095.0, depth=16)
    source = np.full((4, 4, 4), 1024, np.uint16)
    page = triptych(source, source * 2, picture, "t", "")
    shown = [opened(base64.b64decode(text)) for text in re.findall(r"base64,([^\"]+)", page)]
    assert [array[0, 0].tolist() for array in shown[:2]] == [[64] * 3, [128] * 3] and "mean 25.0%" in page
    np.testing.assert_allclose(shown[2], np.broadcast_to(HEAT[2], (4, 4, 3)), atol=1)  # Half of the way to its end.


def test_model_page_escapes_what_it_shows() -> None:
    page = model_page(Hosted("m", translator("stargan", "<b>faces</b>:binary:<i>x,y"), None))
    assert "<i>x" not in page and "&lt;i&gt;x" in page and "<b>faces" not in page


def test_results_of_a_batch_never_share_a_name() -> None:
    """Whatever the files are called, on file systems that know no case, too; and in the order in which they were given."""
    assert stems(["a.png", "a.jpg", "a-2.png", "A.png", "b.png"]) == ["a", "a-2", "a-2-2", "A-3", "b"]


def test_vault_keeps_what_fits_under_names_of_its_own() -> None:
    vault = Vault("/root", 100)
    names = [vault.put(b"x" * 40, "image/png", f"../../{i}.png") for i in range(3)]
    assert vault.get(names[0]) is None and vault.get(names[2]).content == b"x" * 40  # type: ignore[union-attr]
    assert len(set(names)) == 3 and all(".." not in name for name in names)
    assert (
        safe_title("C:\\x\\a b.png") == "a_b.png" and safe_title("../..") == "picture" and safe_title("\u202eé.png") == "é.png"
    )
