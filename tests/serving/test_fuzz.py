"""The service under nonsense: damaged uploads, and requests drawn from its own schema. Only 2xx, 4xx and 503 are answers."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from asterism.data.pictures import encode
from asterism.serving.app import create_app
from asterism.serving.limits import Limits
from tests.helpers.pictures import coded, deflated_tiff, noise
from tests.helpers.serving import client, service

URL = "/api/models/faces/translate"
SEEDS = [
    coded(noise(24, 16)),
    coded(noise(24, 16, channels=1)),
    coded(noise(24, 16, channels=4)),
    coded(noise(24, 16), "JPEG"),
    coded(noise(24, 16), "JPEG", progressive=True),
    coded(noise(24, 16), "WEBP"),
    coded(noise(24, 16), "WEBP", lossless=True),
    coded(noise(24, 16), "TIFF"),
    coded(noise(24, 16), "TIFF", compression="tiff_lzw"),
    coded(noise(24, 16), "TIFF", compression="tiff_adobe_deflate"),
    coded(noise(24, 16), "TIFF", compression="jpeg"),
    encode(noise(24, 16).astype(np.uint16) * 257, ".tif"),
    deflated_tiff(noise(24, 16).astype(np.uint16) * 257),
]
TELLING = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\xff\xda",
    b"IDAT",
    b"acTL",
    b"VP8X",
)


def damaged(rng: random.Random) -> bytes:
    """A picture's file with a few of its bytes changed, cut out, doubled, put elsewhere or taken from another file."""
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = min(int(rng.expovariate(1 / (1 + len(data) // 6))), max(0, len(data) - 1))  # Headers more often than pixels.
        match rng.randrange(7):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                telling = rng.choice(TELLING)
                data[at : at + len(telling)] = telling
            case 2:
                del data[at : at + rng.randrange(1, 40)]
            case 3:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
            case 4:
                del data[at + 1 :]
            case 5:
                other = rng.choice(SEEDS)
                data[at:] = other[rng.randrange(len(other)) :]
            case 6:
                data[at:at] = rng.randbytes(rng.randrange(1, 20))
    return bytes(data)


def fuzz(count: int, seed: int) -> Counter[int]:
    rng, seen = random.Random(seed), Counter()
    with client(service(Limits(pixels=200_000, upload_bytes=100_000))) as web:
        for number in range(count):
            data = damaged(rng)
            answer = web.post(URL, files={"image": ("x", data)}, data={"to": "Glasses"})
            seen[answer.status_code] += 1
            assert answer.status_code == 200 or 400 <= answer.status_code < 500, (seed, number, answer.text, data[:80])
            if answer.status_code != 200:
                said = answer.json()["error"]
                assert said and "<" not in said and "/" not in said, (seed, number, said)
        assert web.post(URL, files={"image": coded(noise())}, data={"to": "Glasses"}).status_code == 200
        assert "asterism_places_taken 0" in web.get("/metrics").text
    return seen


@pytest.mark.filterwarnings("ignore")
def test_damaged_uploads() -> None:
    seen = fuzz(300, seed=0)
    assert seen[200] > 30 and seen[422] > 30, f"the damage is too slight or too grave to tell anything: {seen}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_damaged_uploads() -> None:
    print(fuzz(10_000, seed=1))


def from_schema(examples: int) -> Counter[tuple[str, int]]:
    """Ask what the service's own schema describes, well formed and not; count the answers by route."""
    schemathesis = pytest.importorskip("schemathesis", reason="drawing requests from the schema needs schemathesis")
    requests = pytest.importorskip("requests", reason="schemathesis builds its requests with it")
    served, seen = service(Limits(upload_bytes=20_000)), Counter()
    app = create_app(served)
    schema = schemathesis.openapi.from_dict(app.openapi())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as web:
        for mode in schemathesis.GenerationMode:
            for operation in schema.get_all_operations():

                @settings(
                    max_examples=examples,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.ok().as_strategy(generation_mode=mode))
                def ask(case: Any) -> None:
                    asked = requests.Request(**case.as_transport_kwargs(base_url="http://127.0.0.1")).prepare()
                    answer = web.request(asked.method, asked.url, content=asked.body, headers=dict(asked.headers))
                    seen[case.operation.path, answer.status_code] += 1
                    assert answer.status_code < 500 or answer.status_code == 503, (case.as_curl_command(), answer.text)

                try:
                    ask()
                except Exception as error:
                    if "Unsatisfiable" not in type(error).__name__:  # What takes no arguments has no malformed requests.
                        raise
    return seen


def test_requests_drawn_from_the_schema() -> None:
    seen = from_schema(5)
    assert {path for path, _ in seen} >= {"/api/models", "/api/models/{name}", URL.replace("faces", "{name}"), "/health"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_requests_drawn_from_the_schema() -> None:
    print(from_schema(400))


def test_random_fields_of_a_good_upload() -> None:
    """Whatever stands in the fields beside a good picture: an answer, and never an error of the server's."""
    words = [
        "",
        "Glasses",
        "Glasses=no",
        "Glasses=",
        "=",
        ",",
        "\x00",
        "é" * 500,
        "happy,sad",
        "1e999",
        "-1",
        "nan",
        "letterbox",
        "[1]",
    ]
    words += ["9" * 30, "{}", "null", "png", "../x", "faces:Glasses", "moods:happy", "true"]
    names = ["to", "labels", "fit", "style", "truncation", "strength", "from", "format", "quality", "toward", "weight", "x", ""]
    rng, picture = random.Random(3), coded(noise(8, 8))
    with client() as web:
        for _ in range(150):
            fields = {name: rng.choice(words) for name in rng.sample(names, rng.randrange(4))} | {"to": rng.choice(words)}
            answer = web.post(URL, files={"image": picture}, data=fields)
            assert answer.status_code in (200, 400, 422), (fields, answer.text)
