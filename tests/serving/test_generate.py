"""Pictures of latents over HTTP: what the model makes of the seeds, within the service's limits."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from asterism.serving.limits import Limits
from tests.helpers.pictures import opened
from tests.helpers.serving import client, service
from tests.helpers.translators import translator

URL = "/api/models/noise/generate"


@pytest.fixture(scope="module")
def web() -> Iterator[TestClient]:
    served = service(Limits(results=3, places=8), noise=translator("dcgan"), coded=translator("infogan"), faces=translator())
    with client(served) as opened_client:
        yield opened_client


def test_a_seed_is_the_picture_that_the_model_makes_of_it(web: TestClient) -> None:
    answer = web.post(URL, json={"seeds": [7]})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert "seed7.png" in answer.headers["content-disposition"]
    (expected,) = translator("dcgan").generate(seeds=(7,))
    assert np.abs(np.asarray(opened(answer.content)).astype(int) - np.asarray(expected)).max() <= 1  # Batches round apart.


def test_several_seeds_come_as_json_in_their_order(web: TestClient) -> None:
    listed = web.post(URL, json={"seeds": [7, 8]}).json()["results"]
    assert [result["to"] for result in listed] == ["seed7", "seed8"]
    one, two = (np.asarray(opened(base64.b64decode(result["image"]))) for result in listed)
    assert one.shape == (32, 32, 3) and not np.array_equal(one, two)


def test_codes_are_those_of_the_request(web: TestClient) -> None:
    answer = web.post("/api/models/coded/generate", json={"seeds": [7], "codes": {"kind": 3, "first": -1}})
    (expected,) = translator("infogan").generate(seeds=(7,), codes={"kind": 3, "first": -1})
    assert np.abs(np.asarray(opened(answer.content)).astype(int) - np.asarray(expected)).max() <= 1
    (listed,) = [model["codes"] for model in web.get("/api/models").json()["models"] if model["name"] == "coded"]
    assert listed["kind"] == "a whole number from 0 to 9" and list(listed) == ["kind", "first", "second"]


@pytest.mark.parametrize(
    ("url", "body", "status", "said"),
    [
        (URL, {"seeds": [1, 2, 3, 4]}, 422, "exceed the maximum of one request, 3"),
        (URL, {"seeds": [1], "to": "Male"}, 422, "is told no labels"),
        (URL, {"seeds": [1], "codes": {"kind": 1}}, 422, "has no codes to choose"),
        ("/api/models/coded/generate", {"codes": {"kind": 10}}, 422, "expected a whole number from 0 to 9"),
        (URL, {"seed": 1}, 422, "the fields are seeds, to, code, codes, along, truncation, format, quality"),
        (URL, {"seeds": [2**70]}, 422, "seed"),
        (URL, {"code": ["seed9999999999999999999"]}, 422, "a seed is 9999999999999999999; expected at most"),
        (URL, {"to": "x" * 20_000}, 422, "at most 10000 characters"),
        (URL, {"along": {"x" * 20_000: 1}}, 422, "at most 10000 characters"),
        ("/api/models/faces/generate", {"seeds": [1]}, 422, "use translate, not generate"),
        ("/api/models/none/generate", {"seeds": [1]}, 404, "there is no model"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_sentence(web: TestClient, url: str, body: dict, status: int, said: str) -> None:
    answer = web.post(url, json=body)
    assert answer.status_code == status and said in answer.json()["error"]


def test_a_generating_model_translates_nothing_and_says_so(web: TestClient) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32)).save(picture, "PNG")
    answer = web.post("/api/models/noise/translate", files={"image": ("a.png", picture.getvalue())}, data={"to": "Male"})
    assert answer.status_code == 422 and "use generate, not translate" in answer.json()["error"]
    listed = {model["name"]: (model["translates"], model["generates"]) for model in web.get("/api/models").json()["models"]}
    assert listed == {"noise": (False, True), "coded": (False, True), "faces": (True, False)}
