"""The API's route for recordings: what it answers is what `Voices` says, and strangers' files are refused in a sentence."""

from __future__ import annotations

import base64
import io
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.helpers.serving import client
from tests.helpers.voices import loudness, save_voices, tone

from starlette.testclient import TestClient  # isort: skip (the helper skips these tests where there is no FastAPI)

from asterism.inference.voices import Voices
from asterism.serving.hosted import load_models
from asterism.serving.limits import Limits, Refused
from asterism.serving.recordings import read_upload
from asterism.serving.service import Service

URL = "/api/models/voices/convert"
LIMITS = Limits(recording_seconds=2, upload_bytes=300_000)
CLIP = tone(220, 0.8, 22_050)


def coded(samples: np.ndarray = CLIP, rate: int = 22_050, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def heard(data: bytes) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    return samples.astype(int), rate


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Voices]]:
    """A client of a service of a small model, and what it has to say."""
    torch.manual_seed(0)
    hosted = load_models([str(save_voices(tmp_path_factory.mktemp("api") / "voices"))], "cpu", "float32")
    own = hosted["voices"].voices
    assert own is not None
    own.vocode = loudness
    with client(Service(hosted, LIMITS)) as web:
        yield web, own


def post(web: TestClient, data: bytes, to: Any = "bob", **more: Any) -> Any:
    return web.post(URL, files={"recording": ("me.wav", data)}, data={"to": to}, **more)


def test_a_recording_comes_back_in_the_other_voice_as_it_came(voices: tuple[TestClient, Voices]) -> None:
    web, own = voices
    stereo = np.stack([tone(110, 1.0, 44_100), tone(120, 1.0, 44_100)], 1)
    for data in (coded(), coded(stereo, 44_100, "FLAC"), coded(format="OGG"), coded(subtype="FLOAT")):
        answer = post(web, data)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav"), answer.text
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        made, made_rate = heard(answer.content)
        expected = 2**15 * own.translate(samples, rate, "bob")
        assert (made_rate, made.shape) == (rate, expected.shape) and np.abs(made - expected).max() <= 2
    assert np.abs(made).max() > 1000
    assert web.get("/metrics").text.count('asterism_results_total{model="voices"} 4.0') == 1


def test_several_speakers_come_as_json_and_clients_learn_what_the_model_takes(voices: tuple[TestClient, Voices]) -> None:
    web, _ = voices
    many = post(web, coded(), ["anna", "bob"]).json()["results"]
    assert [(r["to"], r["rate"], r["seconds"]) for r in many] == [("anna", 22_050, 0.8), ("bob", 22_050, 0.8)]
    alone = web.post(URL, json={"recording": base64.b64encode(coded()).decode(), "to": [{"bob": True}]})
    assert alone.content == base64.b64decode(many[1]["recording"]) != base64.b64decode(many[0]["recording"])
    about = web.get("/api/models/voices").json()
    assert (about["converts"], about["translates"], about["takes"]) == (True, False, "recordings (WAV, FLAC or OGG)")
    assert about["limits"]["recording_seconds"] == 2
    refused = web.post(URL.replace("convert", "translate"), files={"image": b"x"}, data={"to": "bob"})
    assert refused.status_code == 422 and "send them to its route convert" in refused.json()["error"]
    with client() as faces:
        refused = post_to_faces(faces)
        assert refused.status_code == 422 and "takes pictures, not recordings" in refused.json()["error"]
        assert faces.get("/api/models/faces").json()["converts"] is False


def post_to_faces(web: TestClient) -> Any:
    return web.post(URL.replace("voices", "faces"), files={"recording": coded()}, data={"to": "Glasses"})


def lying_flac() -> bytes:
    """A FLAC of 0.8 s that claims 2 ** 36 - 1 samples."""
    data = bytearray(coded(format="FLAC"))
    data[21] |= 15
    data[22:26] = b"\xff" * 4
    return bytes(data)


HOSTILE = {
    "nothing": (lambda: b"", 400, "0 bytes"),
    "ten minutes of silence in 30 kB": (lambda: coded(np.zeros(600 * 22_050), format="FLAC"), 413, "longer than 2 s"),
    "a length that is not there": (lying_flac, 413, "longer than 2 s"),
    "too many bytes": (lambda: coded(np.zeros(200_000)), 413, "at most 300,000"),
    "half a WAV": (lambda: coded()[:9_000], 422, "cut short"),
    "half a FLAC": (lambda: coded(format="FLAC")[:9_000], 422, "not a readable recording"),
    "a header": (lambda: coded()[:30], 422, "header is damaged"),
    "an MP3": (lambda: coded(format="MP3"), 415, "but an MP3"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(50), 415, "but a picture"),
    "a telephone's codec": (lambda: coded(subtype="GSM610"), 415, "coded as GSM610"),
    "0.1 s": (lambda: coded(tone(220, 0.1)), 422, "at least 0.3 s"),
    "8 kHz": (lambda: coded(tone(220, 0.8, 8000), 8000), 422, "8,000 samples a second"),
    "400 kHz": (lambda: coded(np.zeros(100_000), 400_000), 422, "at most 8 of 192,000"),
    "nine channels": (lambda: coded(np.zeros((9_000, 9))), 422, "9 channels"),
    "NaN": (lambda: coded(np.full(20_000, np.nan), subtype="FLOAT"), 422, "not numbers (NaN)"),
    "silence": (lambda: coded(np.zeros(20_000)), 422, "silent"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_used_is_refused_in_a_sentence(voices: tuple[TestClient, Voices], name: str) -> None:
    make, status, words = HOSTILE[name]
    answer = post(voices[0], make())
    assert answer.status_code == status and words in answer.json()["error"], answer.text
    assert "asterism_places_taken 0" in voices[0].get("/metrics").text


def test_mistakes_in_a_request_are_explained(voices: tuple[TestClient, Voices]) -> None:
    web, _ = voices
    for answer, status, words in (
        (post(web, coded(), "eve"), 422, "anna, bob"),
        (post(web, coded(), ["bob"] * 65), 422, "65 targets"),
        (web.post(URL, files={"image": coded()}, data={"to": "bob"}), 422, "recording: Field required"),
        (web.post(URL, json={"recording": "*", "to": ["bob"]}), 400, "not base64"),
        (web.post(URL, content=b"x", headers={"content-type": "audio/wav"}), 415, "send the recording as"),
        (post(web, coded(), headers={"accept": "image/png"}), 406, "a WAV file or JSON"),
    ):
        assert answer.status_code == status and words in answer.json()["error"], answer.text


def test_damaged_recordings_are_used_or_refused() -> None:
    """Whatever happened to the bytes: a recording within the limits or a refusal, and no other error."""
    rng, seen = random.Random(0), Counter[int]()
    seeds = [coded(subtype=subtype) for subtype in ("PCM_16", "FLOAT")] + [coded(format=kind) for kind in ("FLAC", "OGG")]
    for _ in range(400):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(min(len(data), rng.choice((60, 4000, len(data)))))
            if rng.random() < 0.8:
                data[at] = rng.choice((0, 255, rng.randrange(256)))
            else:
                del data[at : at + rng.randrange(1, 40)]
        try:
            recording = read_upload(bytes(data), LIMITS)
            assert recording.seconds <= 2.1 and np.isfinite(recording.samples).all()
            seen[200] += 1
        except Refused as refusal:
            assert "/" not in refusal.message and "<" not in refusal.message, refusal.message
            seen[refusal.status] += 1
    assert seen[200] > 40 and seen[422] > 40, f"the damage is too slight or too grave to tell anything: {seen}"
    print(seen)
