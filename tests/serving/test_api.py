"""The HTTP API: what it answers, and that it is what the translator says."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL.Image
import pytest
from starlette.testclient import TestClient

from asterism.data.pictures import encode
from asterism.serving.limits import Limits
from tests.helpers.negative import negative
from tests.helpers.pictures import coded, noise, opened
from tests.helpers.serving import client, service
from tests.helpers.translators import translator

URL = "/api/models/faces/translate"


@pytest.fixture(scope="module")
def web() -> Iterator[TestClient]:
    with client() as opened_client:
        yield opened_client


def post(web: TestClient, picture: bytes, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    files = {"image": ("me.png", picture)} | {k: ("ref.png", v) for k, v in fields.items() if isinstance(v, bytes)}
    words = {k: v for k, v in fields.items() if not isinstance(v, bytes)}
    return web.post(URL, files=files, data=words, headers=headers)


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to the rounding of one stored value: batches of another size add up in another order."""
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= 1


def test_the_answer_is_what_the_translator_says(web: TestClient) -> None:
    picture = noise(50, 40)
    wishes = (("Glasses", {}), ("Blond_Hair,Glasses=no", {"labels": "Black_Hair"}), ("happy,Glasses", {"fit": "crop"}))
    for to, options in wishes:
        answer = post(web, coded(picture), to=to, **options)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        assert close(opened(answer.content), translator().translate(picture, to, **options))


def test_several_targets_come_as_json_and_all_at_once(web: TestClient) -> None:
    picture, targets = noise(), ["Black_Hair", "Blond_Hair", "Glasses=no", "happy", "sad,Glasses"]
    answer = post(web, coded(picture), to=targets).json()
    assert answer["model"] == "faces" and [r["to"] for r in answer["results"]] == targets
    for result in answer["results"]:
        assert close(opened(base64.b64decode(result["image"])), translator().translate(picture, result["to"]))
        assert (result["type"], result["width"], result["height"]) == ("image/png", 32, 32)


def test_json_requests(web: TestClient) -> None:
    picture = noise()
    text = base64.b64encode(coded(picture)).decode()
    for image in (text, "data:image/png;base64," + text):
        to = {"Glasses": True, "Blond_Hair": True}
        answer = web.post(URL, json={"image": image, "to": [to]}, headers={"accept": "application/json"})
        (result,) = answer.json()["results"]
        assert result["to"] == to
        assert close(opened(base64.b64decode(result["image"])), translator().translate(picture, to))
    refused = web.post(URL, json={"image": text, "to": "Glasses"})
    assert refused.status_code == 422 and 'to: expected a list, such as ["Blond_Hair"]' in refused.json()["error"]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_formats(web: TestClient, format: str) -> None:
    answer = post(web, coded(noise(), "JPEG"), to="Glasses", format=format, quality="97")
    assert answer.headers["content-type"] == f"image/{format}"
    expected = translator().translate(opened(coded(noise(), "JPEG")), "Glasses")
    written = opened(encode(expected, {"jpeg": ".jpg"}.get(format, f".{format}"), 97))
    assert np.abs(opened(answer.content).astype(int) - written.astype(int)).mean() < 1


def test_pictures_of_another_depth_are_refused_and_8_bit_results_show_the_range() -> None:
    """A model of 12-bit values in 16-bit files: what 8 bits mean there is unknown; JPEG is for looking at."""
    with client(service(faces=negative(channels=1, depth=16, high=4095))) as web:
        assert web.get("/api/models/faces").json()["values"] == [0, 4095]
        refused = post(web, coded(noise(channels=1)), to="Male")
        assert refused.status_code == 422 and "8 bits" in refused.json()["error"] and "0 to 4095" in refused.json()["error"]
        held = encode(np.full((16, 16, 1), 1023, np.uint16), ".tif")
        kept, seen = (opened(post(web, held, to="Male", format=format).content) for format in ("png", "jpeg"))
        assert kept.max() > 255 and np.abs(seen.astype(float) - 255 * (kept / 4095)).max() < 2


def test_uploads_of_any_kind_keep_their_size(web: TestClient) -> None:
    rotated = PIL.Image.Exif()
    rotated[0x0112] = 6
    for content, size in (
        (coded(noise(40, 24), "WEBP"), (24, 40)),
        (coded(noise(40, 24), "TIFF"), (24, 40)),
        (coded(noise(40, 24), "JPEG", exif=rotated), (40, 24)),
        (coded(noise(40, 24, channels=1)), (24, 40)),
        (coded(noise(40, 24, channels=4)), (24, 40)),
        (coded(noise(90, 3)), (3, 90)),
    ):
        answer = post(web, content, to="Glasses")
        assert answer.status_code == 200, answer.text
        assert opened(answer.content).shape == (*size, 3)


def test_many_clients_at_once_each_get_their_own(web: TestClient) -> None:
    """Pictures of all clients share batches: none gets another's picture or target."""
    targets, pictures = ["Black_Hair", "Blond_Hair", "happy", "sad", "Glasses,sad"], [noise(32, 32, seed) for seed in range(6)]
    expected = {(i, to): translator().translate(p, to) for i, p in enumerate(pictures) for to in targets}
    before = float(re.search(r"^asterism_batches_total (\d+)", web.get("/metrics").text, re.MULTILINE)[1])  # type: ignore[index]
    jobs = [(i, to) for i in range(6) for to in targets]

    def ask(job: tuple[int, str]) -> bool:
        return close(opened(post(web, coded(pictures[job[0]]), to=job[1]).content), expected[job])

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, jobs))
    after = float(re.search(r"^asterism_batches_total (\d+)", web.get("/metrics").text, re.MULTILINE)[1])  # type: ignore[index]
    assert after - before < len(jobs), "pictures that wait share a batch"


def test_styles() -> None:
    dogs = translator("stargan_v2", "data:one_of:cat,dog")
    picture, reference = noise(40, 40), noise(32, 32, 7)
    with client(service(faces=dogs)) as web:
        blend = {"style": 3, "strength": 0.5, "from": "cat"}
        for options in ({"style": 7}, {"style": 7, "truncation": 0.5}, {"like": coded(reference)}, blend):
            words = {k: v if isinstance(v, bytes) else str(v) for k, v in options.items()}
            given = {k if k != "from" else "source": reference if k == "like" else v for k, v in options.items()}
            answer = post(web, coded(picture), to="dog", **words)
            assert close(opened(answer.content), dogs.translate(picture, "dog", **given)), options
        assert post(web, coded(picture), to="dog", style="7", like=coded(reference)).status_code == 422
        assert web.get("/api/models/faces").json()["styled"] is True


def test_how_strongly_labels_change() -> None:
    faces, picture = translator("aster"), noise(40, 40)
    with client(service(faces=faces)) as web:
        for strength in (0.5, 1.5):
            answer = post(web, coded(picture), to="Glasses,happy", strength=str(strength))
            assert close(opened(answer.content), faces.translate(picture, "Glasses,happy", strength=strength))
        answer = post(web, coded(picture), to="Glasses=0.5,happy")
        assert close(opened(answer.content), faces.translate(picture, {"Glasses": 0.5, "happy": True}))
        assert post(web, coded(picture), to="Glasses", strength="3").status_code == 422
        answer = post(web, coded(picture), to="Glasses", strength="0")
        assert close(opened(answer.content), faces.translate(picture, "Glasses", strength=0))


def test_only_domains_are_offered_where_styles_belong_to_them() -> None:
    with client(service(faces=translator("stargan_v2", "faces:binary:Glasses,Black_Hair,Blond_Hair"))) as web:
        told = web.get("/api/models/faces").json()
        assert told["labels"] == told["groups"][0]["labels"] == ["Black_Hair", "Blond_Hair"]
        assert post(web, coded(noise(40, 40)), to="Blond_Hair").status_code == 200
        refused = post(web, coded(noise(40, 40)), to="Glasses")
        assert refused.status_code == 422 and "Black_Hair, Blond_Hair" in refused.text


def test_models_say_what_they_are(web: TestClient) -> None:
    (summary,) = web.get("/api/models").json()["models"]
    about = web.get("/api/models/faces").json()
    assert about.items() >= summary.items()
    assert about["labels"] == ["Black_Hair", "Blond_Hair", "Glasses", "happy", "sad"] and about["recipe"] == "stargan"
    faces, moods = about["groups"]
    assert (faces["dataset"], faces["kind"], faces["labels"]) == ("faces", "binary", about["labels"][:3])
    assert faces["exclusive"] == [["Black_Hair", "Blond_Hair"]]
    assert moods == {"dataset": "moods", "kind": "one_of", "labels": ["happy", "sad"], "exclusive": []}
    assert about["limits"]["results"] == Limits().results


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"to": "Blonde"}, 422, "Blond_Hair"),
        ({}, 422, "to: Field required"),
        ({"to": "Black_Hair,Blond_Hair"}, 422, "exclude each other"),
        ({"to": ""}, 422, "the target is empty"),
        ({"to": "Glasses", "fit": "stretch"}, 422, "letterbox"),
        ({"to": "Glasses", "style": "7"}, 422, "no styles"),
        ({"to": "Glasses", "styl": "7"}, 422, "the fields are"),
        ({"to": "Glasses", "quality": "101"}, 422, "quality"),
        ({"to": "Glasses", "labels": "Beard"}, 422, "Beard"),
        ({"to": ["Glasses"] * 65}, 422, "65 targets"),
    ],
)
def test_mistakes_are_explained(web: TestClient, fields: dict[str, Any], status: int, words: str) -> None:
    answer = post(web, coded(noise()), **fields)
    assert answer.status_code == status and words in answer.json()["error"], answer.text


def test_malformed_requests_are_explained(web: TestClient) -> None:
    picture = base64.b64encode(coded(noise())).decode()

    def send(content: bytes, kind: str = "application/json") -> Any:
        return web.post(URL, content=content, headers={"content-type": kind})

    for answer, status in (
        (web.post("/api/models/cats/translate", files={"image": coded(noise())}, data={"to": "x"}), 404),
        (send(b"{"), 400),
        (send(b"[" * 100_000), 400),
        (send(b"[1]"), 422),
        (web.post(URL, json={"image": "*", "to": ["Glasses"]}), 400),
        (send(b'{"image": "%s", "to": ["\\ud800"]}' % picture.encode()), 422),
        (send(b"x", "text/plain"), 415),
        (send(b"x", "multipart/form-data"), 400),
        (send(b"--b\r\nx", "multipart/form-data; boundary=b"), 422),
        (web.post(URL, data={"to": "Glasses", "image": "me.png"}, files={"like": b"x"}), 422),
        (post(web, coded(noise()), {"accept": "text/html"}, to="Glasses"), 406),
        (post(web, coded(noise()), {"accept": "image/png"}, to=["Glasses", "happy"]), 406),
        (web.get(URL), 405),
        (web.get("/api/nothing"), 404),
    ):
        assert answer.status_code == status and answer.json()["error"], answer.text


def test_health_readiness_and_metrics(web: TestClient) -> None:
    assert web.get("/health").status_code == web.get("/ready").status_code == 200
    post(web, coded(noise()), to="Glasses")
    post(web, b"", to="Glasses")
    text = web.get("/metrics").text
    assert re.search(r'asterism_answers_total\{route="/api/models/\{name\}/translate",status="200"\} \d+', text)
    assert re.search(r'asterism_answers_total\{route="/api/models/\{name\}/translate",status="400"\} \d+', text)
    assert (
        "asterism_places_taken 0.0" in text
        and "process_resident_memory_bytes" in text
        and 'asterism_results_total{model="faces"}' in text
    )
    counts = [float(n) for n in re.findall(r'asterism_translate_seconds_bucket\{le="[^"]+"\} ([\d.]+)', text)]
    assert counts == sorted(counts) and f"asterism_translate_seconds_count {counts[-1]}\n" in text


def test_the_page_of_the_api_loads_nothing_from_elsewhere(web: TestClient) -> None:
    page = web.get("/")
    assert page.url.path == "/api" and page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"https?://|//cdn|@import|src=", page.text)
    schema = web.get("/api/openapi.json").json()
    body = schema["paths"]["/api/models/{name}/translate"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
