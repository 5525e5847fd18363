"""Codes over HTTP: pictures projected and edited as the model itself does it, within the service's limits."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from asterism.manifold.code_files import CODES, DIRECTIONS, Codes, write_codes
from asterism.serving.limits import Limits
from asterism.serving.worker import DeviceWorker
from tests.helpers.pictures import coded, noise, opened
from tests.helpers.serving import client, service
from tests.helpers.translators import translator

PROJECT, EDIT, GENERATE = (f"/api/models/noise/{route}" for route in ("project", "edit", "generate"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("secret_folder")
    write_codes(made / CODES, Codes("latent", "dcgan", {"me": torch.tensor([0.5, -0.5, 0.25, 1.0])}))
    write_codes(made / DIRECTIONS, Codes("latent", "dcgan", {"Smiling": torch.tensor([0.0, 0.5, 0.0, 0.0])}))
    return made


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[TestClient]:
    saved = translator("dcgan")
    saved.path = folder / "model.safetensors"
    models = {"noise": saved, "faces": translator(), "pairs": translator("cyclegan", "a:one_of:x,y")}
    with client(service(Limits(results=12, places=16), **models)) as opened_client:
        yield opened_client


def strokes(width: int = 32, height: int = 32, mode: str = "RGBA") -> bytes:
    drawn, file = Image.new(mode, (width, height)), io.BytesIO()
    drawn.paste((255, 0, 0, 255)[: len(mode)], (0, 0, width, height // 3))
    drawn.save(file, "PNG")
    return file.getvalue()


def picture_of(result: dict[str, Any]) -> np.ndarray:
    return np.asarray(opened(base64.b64decode(result["image"]))).astype(int)


def test_a_projection_is_the_models_own_and_its_code_makes_the_picture_again(web: TestClient) -> None:
    picture = noise(40, 32)
    answer = web.post(PROJECT, files={"image": ("me.png", coded(picture))}, data={"steps": "6", "starts": "2"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store" and answer.json()["kind"] == "latent"
    (result,) = answer.json()["results"]
    found = translator("dcgan").project(picture, steps=6, starts=2)
    np.testing.assert_allclose(result["code"], found.codes[0], atol=1e-4)
    assert result["error"] == pytest.approx(found.errors[0], rel=1e-4) and result["far"] == found.far[0]
    text = base64.b64encode(coded(picture)).decode()
    again = web.post(PROJECT, json={"image": text, "steps": 6, "starts": 2}).json()["results"][0]
    assert again["code"] == result["code"]
    made = web.post(GENERATE, json={"code": [result["code"]]})
    assert np.abs(np.asarray(opened(made.content)).astype(int) - picture_of(result)).max() <= 1


def test_an_edit_is_the_models_own_and_goes_on_from_a_candidate(web: TestClient) -> None:
    how = {"candidates": 6, "steps": 3, "shown": 4}
    answer = web.post(EDIT, files={"paint": strokes()}, data={"code": "me + 0.5*seed3", "warp": "4,4,20,20,6", **how}).json()
    drawn = np.asarray(Image.open(io.BytesIO(strokes())))
    model = translator("dcgan")
    start = torch.tensor([0.5, -0.5, 0.25, 1.0]) + 0.5 * model.latents(seeds=(3,))[0]
    assert torch.nn.functional.cosine_similarity(torch.tensor(answer["start"]), start, 0) > 0.999
    assert len(answer["results"]) <= 4 and answer["results"][0]["cost"] <= answer["results"][-1]["cost"]
    own = model.edit(torch.tensor(answer["start"]), paint=drawn, warp=[(4, 4, 20, 20, 6)], candidates=6, steps=3)
    np.testing.assert_allclose([result["cost"] for result in answer["results"]], own.costs[:4], rtol=1e-3)
    assert np.abs(picture_of(answer["results"][0]) - np.asarray(own.pictures[0])).max() <= 1
    chosen = answer["results"][1]["code"]
    further = web.post(EDIT, json={"code": chosen, "sketch": base64.b64encode(strokes()).decode(), **how}).json()
    assert further["start"] == pytest.approx(chosen)
    told = web.post(EDIT.replace("noise", "faces"), files={"image": coded(noise()), "paint": strokes()}, data=how).json()
    assert told["kind"] == "labels" and len(told["results"][0]["code"]) == 3


def test_pictures_of_saved_codes_and_along_directions(web: TestClient) -> None:
    me, model = torch.tensor([0.5, -0.5, 0.25, 1.0]), translator("dcgan")
    listed = web.post(GENERATE, json={"code": ["me", "seed7"], "along": {"Smiling": 2}}).json()["results"]
    assert [result["to"] for result in listed] == ["me", "seed7"]
    wanted = torch.stack([me, model.latents(seeds=(7,))[0]]) + torch.tensor([0.0, 1.0, 0.0, 0.0])
    for result, expected in zip(listed, model.generate(code=wanted), strict=True):
        assert np.abs(picture_of(result) - np.asarray(expected)).max() <= 1
    mean = web.post(GENERATE, json={"seeds": [7], "truncation": 0})
    assert np.abs(np.asarray(opened(mean.content)).astype(int) - np.asarray(model.generate(code=0 * me)[0])).max() <= 1


@pytest.mark.parametrize(
    ("url", "files", "fields", "said"),
    [
        (EDIT, {"paint": strokes(mode="RGB")}, {}, "this one has no transparency"),
        (EDIT, {"paint": strokes(96, 32)}, {}, "the strokes have 96 x 32 pixels, the model's pictures 32 x 32"),
        (EDIT, {"paint": strokes()}, {"code": "mee"}, "no code is saved as 'mee': did you mean me"),
        (EDIT, {"paint": strokes()}, {"code": "[1, 2]"}, "this model takes [N, 4]"),
        (EDIT, {"paint": strokes()}, {"code": "[9, 9, 9, 9]"}, "a code is 18.0 long"),
        (EDIT, {"paint": strokes()}, {"code": "[1"}, "code: this is no list of numbers"),
        (EDIT, {"paint": strokes()}, {"shown": 13}, "13 candidates exceed the maximum of one request, 12"),
        (EDIT, {"paint": strokes()}, {"candidates": 65}, "less than or equal to 64"),
        (EDIT, {"paint": strokes()}, {"code": "me", "warp": "1,2,3"}, "a warp is row, column, new row, new column"),
        (EDIT, {"paint": strokes()}, {"code": "me", "warp": "1,2,3,99"}, "32 x 32 pixels"),
        (EDIT, {"paint": strokes(), "image": coded(noise())}, {"code": "me"}, "not both"),
        (EDIT, {"image": coded(noise())}, {"steps": 0}, "an edit has at least one stroke"),
        (EDIT.replace("noise", "faces"), {"paint": strokes()}, {}, "image: the codes of this model are labels"),
        (PROJECT, {"image": coded(noise())}, {"by": "network"}, "this model has no projector"),
        (PROJECT, {"image": coded(noise())}, {"to": "happy"}, "is told no labels"),
        (PROJECT, {"image": b"GIF89a"}, {}, "but a GIF"),
        (PROJECT, {}, {}, "image: Field required"),
        (PROJECT, {"image": coded(noise())}, {"step": 3}, "the fields are to, labels"),
        (PROJECT.replace("noise", "pairs"), {"image": coded(noise())}, {}, "decodes no code that could be searched"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(
    web: TestClient, url: str, files: dict[str, bytes], fields: dict[str, Any], said: str
) -> None:
    answer = web.post(url, files=files, data=fields) if files else web.post(url, json=fields)
    assert answer.status_code in (400, 415, 422) and said in answer.json()["error"], answer.text


def test_damaged_files_of_codes_are_named_without_their_folder(web: TestClient, folder: Path) -> None:
    kept = (folder / DIRECTIONS).read_bytes()
    (folder / DIRECTIONS).write_bytes(b"nothing")
    answer = web.post(GENERATE, json={"along": {"Smiling": 1}})
    (folder / DIRECTIONS).write_bytes(kept)
    assert answer.status_code == 422 and "directions.safetensors" in answer.json()["error"]
    assert "secret_folder" not in answer.text


def test_other_requests_are_served_between_the_steps_of_a_search() -> None:
    worker, begun, asked = DeviceWorker(4), threading.Event(), threading.Event()
    order = list[str]()

    def long(others: Any) -> str:
        begun.set()
        assert asked.wait(20)
        for _ in range(3):
            others()
            order.append("step")
        return "found"

    search = worker.search(long)
    second = worker.search(lambda others: order.append("second"))
    assert begun.wait(20)
    call = worker.call(lambda: order.append("call"))
    asked.set()
    assert search.result(20) == "found"
    call.result(20), second.result(20)
    worker.close()
    assert order == ["call", "step", "step", "step", "second"]


def test_a_search_ends_when_its_time_is_over_and_leaves_the_device() -> None:
    served = service(Limits(seconds=0.4), noise=translator("dcgan"))
    with client(served) as web, ThreadPoolExecutor(1) as pool:
        long = pool.submit(web.post, EDIT, files={"paint": strokes()}, data={"steps": "200"})
        refused = long.result(20)
        assert refused.status_code == 503 and "was not over within 0.4 s" in refused.json()["error"]
        begin = time.monotonic()
        while web.post(EDIT, files={"paint": strokes()}, data={"steps": "0", "candidates": "1"}).status_code == 503:
            assert time.monotonic() < begin + 20, "the first search never left the device"
        assert served.taken == 0
