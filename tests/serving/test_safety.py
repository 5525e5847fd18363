"""A service that faces strangers: bombs, broken files, crowds, other origins, tokens, and an orderly end."""

from __future__ import annotations

import asyncio
import io
import lzma
import os
import signal
import struct
import threading
import time
import tracemalloc
import zipfile
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from asterism.cli import main
from asterism.config import ConfigError
from asterism.inference.apply import translate_each
from asterism.inference.styles import Target
from asterism.serving.app import create_app
from asterism.serving.limits import Limits, Refused
from asterism.serving.server import Server, bind, is_local, serve
from asterism.serving.service import Service
from asterism.serving.worker import DeviceWorker
from tests.helpers.pictures import coded, deflated_tiff, noise, opened
from tests.helpers.serving import client, service
from tests.helpers.translators import translator

URL = "/api/models/faces/translate"


def bare_png(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG that claims a size and holds nothing of it."""
    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def gif_bomb() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("P", (4000, 4000), i) for i in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("me.png", b"\0" * 10_000_000)
    return file.getvalue()


def animated(format: str) -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(noise(32, 32, i)) for i in range(3)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:])
    return file.getvalue()


def vast_webp() -> bytes:
    """A WebP whose canvas is as large as the format allows, in 30 bytes."""
    canvas = (16383).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas


def many_scans() -> bytes:
    file = coded(noise(64, 64), "JPEG", progressive=True)
    start = file.rindex(b"\xff\xda")
    return file[:start] + file[start:-2] * 200 + b"\xff\xd9"


WIDE = noise(16, 16).astype(np.uint16) * 257
JPEG = coded(noise(64, 64), "JPEG")
HOSTILE = {
    "50,000 x 50,000 pixels": (lambda: bare_png(50_000, 50_000), 413, "pixels"),
    "5,001 x 5,000 pixels": (lambda: bare_png(5_001, 5_000), 413, "at most 25,000,000"),
    "a strip that letterboxing would square": (lambda: coded(np.zeros((1, 60_000, 1), np.uint8)), 413, "too long"),
    "a truncated JPEG": (lambda: JPEG[: len(JPEG) // 2], 422, "truncated"),
    "a JPEG that lacks its end": (lambda: JPEG[:-200], 422, "truncated"),
    "a truncated PNG": (lambda: coded(noise(64, 64))[:300], 422, "PNG picture cannot be used"),
    "a PNG without pixels": (lambda: bare_png(64, 64), 422, "PNG picture cannot be used"),
    "a GIF bomb": (gif_bomb, 415, "a GIF"),
    "an SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', 415, "an SVG"),
    "a zip named .png": (zipped, 415, "a zip"),
    "nothing": (lambda: b"", 400, "0 bytes"),
    "an animated PNG": (lambda: animated("PNG"), 422, "animation"),
    "an animated WebP": (lambda: animated("WEBP"), 422, "animation"),
    "a WebP with a vast canvas": (vast_webp, 413, "16,384"),
    "a JPEG of 200 scans": (many_scans, 422, "scans"),
    "a TIFF of three pages": (lambda: animated("TIFF"), 422, "TIFF picture cannot be used"),
    "a TIFF of 20,000 pages": (lambda: deflated_tiff(WIDE, pages=20_000), 422, "20,000 pages"),
    "a TIFF that inflates to 1 MB": (lambda: deflated_tiff(WIDE, zlib.compress(bytes(2**20))), 422, "unpacks to more"),
    "an LZMA TIFF": (lambda: deflated_tiff(WIDE, lzma.compress(bytes(2**20)), compression=34925), 422, "LZMA"),
    "a TIFF whose strip lies elsewhere": (lambda: deflated_tiff(WIDE)[:-300], 422, "TIFF picture cannot be used"),
    "32-bit floats": (lambda: coded_tiff(np.zeros((8, 8), np.float32)), 422, "floats; shift"),
    "too many bytes": (lambda: coded(noise(64, 64)) + b"\0" * Limits().upload_bytes, 413, "at most"),
    "a PNG header alone": (lambda: b"\x89PNG\r\n\x1a\n", 422, "PNG picture cannot be used"),
    "an AVIF": (lambda: b"\0\0\0\x1cftypavif" + bytes(20), 415, "but an AVIF; convert it"),
    "a HEIC": (lambda: b"\0\0\0\x18ftypheic" + bytes(20), 415, "but a HEIC"),
    "a video": (lambda: b"\0\0\0\x20ftypisom" + bytes(20), 415, "but a video"),
    "a script": (lambda: b"#!/bin/sh\nrm -rf /", 415, "convert it"),
}


def coded_tiff(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "TIFF")
    return file.getvalue()


def test_hostile_files_are_refused_and_the_next_request_works() -> None:
    with client() as web:
        for name, (make, status, words) in HOSTILE.items():
            answer = web.post(URL, files={"image": ("me.png", make())}, data={"to": "Glasses"})
            assert answer.status_code == status and words in answer.json()["error"], (name, answer.text)
            assert "/" not in answer.json()["error"] and "<" not in answer.json()["error"], (name, answer.text)
        assert web.post(URL, files={"image": coded(noise())}, data={"to": "Glasses"}).status_code == 200
        wide = web.post(URL, files={"image": deflated_tiff(WIDE)}, data={"to": "Glasses"})
        assert np.array_equal(opened(wide.content), translator().translate(noise(16, 16), "Glasses")), "a sound one is read"


def test_names_in_a_request_are_never_opened(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a request calls its picture or its model, no file of that name is looked for."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(coded(noise()))
    with client() as web:
        import builtins

        seen: list[str] = []
        original = builtins.open
        monkeypatch.setattr(builtins, "open", lambda file, *a, **k: (seen.append(str(file)), original(file, *a, **k))[1])
        for path in (str(secret), "../../../etc/passwd", "file:///etc/passwd"):
            assert web.post(URL, files={"image": (path, b"")}, data={"to": "Glasses"}).status_code == 400
            assert web.post(URL, json={"image": path, "to": ["Glasses"]}).status_code == 400
            assert web.post(URL, data={"image": path, "to": "Glasses"}, files={"like": b"x"}).status_code == 422
            assert web.get(f"/api/models/{path.replace('/', '%2F')}").status_code == 404
        assert not [name for name in seen if "secret" in name or "passwd" in name]


class Slow:
    """Holds back the device until it is told to go on; notes how many pictures each batch held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.batches = threading.Event(), []
        monkeypatch.setattr("asterism.serving.worker.translate_each", self.each)

    def each(self, model: Any, x: torch.Tensor, targets: Any, known: Any) -> torch.Tensor:
        self.batches.append(len(x))
        assert self.go.wait(30)
        return translate_each(model, x, targets, known)


def test_what_waits_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd with large pictures costs the bytes of its files, whole or cropped, not the pixels that they unpack to."""

    async def story(slow: Slow, served: Any, ask: Any) -> None:
        picture = coded(np.zeros((1000, 1000, 3), np.uint8))
        tracemalloc.start()
        crowd = [ask(picture=picture, fit=fit) for fit in ("letterbox", "crop") * 3]
        await until(lambda: served.taken == 6 and served._worker.waiting() >= 5)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 3_000_000, f"{held:,} bytes are held for six pictures of 3 MB that wait"
        slow.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*crowd)] == [200] * 6

    crowd(monkeypatch, Limits(), story)


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about within 10 s")


def crowd(monkeypatch: pytest.MonkeyPatch, limits: Limits, story: Any) -> None:
    """Run a story of asynchronous clients against a service whose device waits for `slow.go`."""

    async def tell() -> None:
        slow = Slow(monkeypatch)
        served = service(limits)
        transport = httpx.ASGITransport(create_app(served))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
            served.ready = True

            def ask(
                to: Any = "Glasses", picture: bytes = coded(noise()), fit: str = "letterbox"
            ) -> asyncio.Task[httpx.Response]:
                return asyncio.ensure_future(web.post(URL, files={"image": ("me.png", picture)}, data={"to": to, "fit": fit}))

            await story(slow, served, ask)
        slow.go.set()
        served.close()

    asyncio.run(tell())


def test_a_full_queue_answers_503_and_what_waits_becomes_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(slow: Slow, served: Any, ask: Any) -> None:
        first = ask()
        await until(lambda: slow.batches == [1])
        waiting = [ask() for _ in range(5)]
        await until(lambda: served.taken == 6 and served._worker.waiting() == 5)
        refused = await ask()
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1" and "places" in refused.json()["error"]
        slow.go.set()
        assert [answer.status_code for answer in await asyncio.gather(first, *waiting)] == [200] * 6
        assert slow.batches == [1, 4, 1] and served.taken == 0

    crowd(monkeypatch, Limits(places=6, results=6, batch_size=4), story)


def test_one_request_for_several_results_takes_as_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(slow: Slow, served: Any, ask: Any) -> None:
        first = ask(["Glasses", "happy", "sad"])
        await until(lambda: slow.batches == [2])  # Of three, a power of two first.
        assert served.taken == 3
        assert (await ask(["Glasses", "happy"])).status_code == 503 and served.taken == 3
        slow.go.set()
        assert (await first).status_code == 200

    crowd(monkeypatch, Limits(places=4, results=4), story)


def test_a_client_that_goes_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(slow: Slow, served: Any, ask: Any) -> None:
        first = ask()
        await until(lambda: slow.batches == [1])
        gone = [ask() for _ in range(3)]
        await until(lambda: served._worker.waiting() == 3)
        for task in gone:
            task.cancel()
        await until(lambda: served.taken == 1 and served._worker.waiting() == 0)
        slow.go.set()
        assert (await first).status_code == 200 and slow.batches == [1]

    crowd(monkeypatch, Limits(places=4, results=4), story)


def test_a_request_that_takes_too_long_is_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(slow: Slow, served: Any, ask: Any) -> None:
        answer = await ask()
        assert answer.status_code == 503 and "within 0.3 s" in answer.json()["error"] and served.taken == 0
        slow.go.set()

    crowd(monkeypatch, Limits(seconds=0.3), story)


def test_shutting_down_finishes_what_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(slow: Slow, served: Any, ask: Any) -> None:
        accepted = [ask(), ask()]
        await until(lambda: served.taken == 2 and slow.batches)
        end = asyncio.ensure_future(served.drained())
        await asyncio.sleep(0.05)
        late = await ask()
        assert late.status_code == 503 and "shutting down" in late.json()["error"] and not end.done()
        slow.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*accepted)] == [200, 200]
        await end

    crowd(monkeypatch, Limits(), story)


def test_what_cannot_be_translated_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails is tried in halves: the others get their results."""
    real = translator()

    def fragile(model: Any, x: torch.Tensor, targets: Any, known: Any) -> torch.Tensor:
        if bool((x == 0.25).all(dim=(1, 2, 3)).any()):
            raise RuntimeError("out of memory, say")
        return translate_each(model, x, targets, known)

    monkeypatch.setattr("asterism.serving.worker.translate_each", fragile)
    gate = threading.Event()
    worker = DeviceWorker(8, lambda pictures, seconds: None if gate.wait(10) else None)
    target = Target(real.parse("Glasses,Black_Hair"))
    pictures = [torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.25), torch.ones(1, 3, 32, 32)]
    futures: list[Future[Any]] = [worker.submit(real, x, [target], {}) for x in (pictures[0], *pictures)]
    gate.set()
    assert [future.exception(10) is None for future in futures] == [True, True, False, True]
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(real, pictures[0], [target], {})


def test_a_body_is_counted_while_it_arrives() -> None:
    """Content-Length is believed only where it admits too much."""
    limits = Limits(upload_bytes=10_000)
    with client(service(limits)) as web:
        honest = web.post(URL, files={"image": b"x" * 200_000}, data={"to": "Glasses"})
        sent = 0

        def endless() -> Any:
            nonlocal sent
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
            while sent < 3_000_000:
                sent += 10_000
                yield b"x" * 10_000

        kind = {"content-type": "multipart/form-data; boundary=b"}
        unlimited = web.post(URL, content=endless(), headers=kind)
        assert honest.status_code == unlimited.status_code == 413, (honest.text, unlimited.text)
        assert f"{limits.body_bytes:,} bytes" in unlimited.json()["error"]
        assert web.post("/api/models", content=b"x" * 200_000).status_code == 413


def test_all_bodies_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "held_bytes", 50_000)
    with client() as web:
        full = web.post(URL, files={"image": b"x" * 60_000}, data={"to": "Glasses"})
        assert full.status_code == 503 and full.headers["retry-after"] and "bytes" in full.json()["error"]
        for _ in range(10):  # What was read is given back, whatever came of it.
            assert web.post(URL, files={"image": b"x" * 10_000}, data={"to": "Glasses"}).status_code == 415


def test_a_client_that_goes_while_it_sends_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def half() -> None:
        served, sent = service(), []
        app = create_app(served)
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        await app({"type": "http", "method": "POST", "path": URL, "headers": headers, "query_string": b""}, receive, send)
        assert sent[0]["status"] == 408 and served.taken == 0
        served.close()

    asyncio.run(half())
    assert not caplog.records


def test_without_a_token_only_this_machine_is_answered() -> None:
    with client() as web:
        for host, status in (
            ("localhost:7860", 200),
            ("[::1]:1", 200),
            ("evil.example", 421),
            ("127.0.0.1.evil.example:7860", 421),
        ):
            assert web.get("/api/models", headers={"host": host}).status_code == status, host
        for origin, status in (("http://127.0.0.1:7860", 200), ("https://evil.example", 403), ("null", 403)):
            answer = web.post(URL, files={"image": coded(noise())}, data={"to": "Glasses"}, headers={"origin": origin})
            assert answer.status_code == status, origin
            assert web.get("/api/models", headers={"origin": origin}).status_code == status, "nor may it read"


TOKEN = "correct horse battery"


def test_a_token_is_needed_where_there_is_one() -> None:
    with client(local=False, token=TOKEN) as web:
        assert web.get("/health").status_code == web.get("/ready").status_code == 200
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}, {"cookie": f"asterism={TOKEN}"}):
            for path in ("/api/models", "/metrics", "/api", "/", "/nothing"):
                answer = web.get(path, headers=headers)
                assert answer.status_code == 401 and "WWW-Authenticate" in answer.headers, (path, headers)
                assert TOKEN not in answer.text
        known = {"authorization": f"Bearer {TOKEN}", "host": "pictures.example"}
        assert web.get("/api/models", headers=known).status_code == 200
        assert web.get("/?token=wrong").status_code == 401
        entered = web.get("/", params={"token": TOKEN, "view": "1"}, follow_redirects=False)
        assert entered.status_code == 303 and entered.headers["location"] == "/?view=1"
        cookie = entered.headers["set-cookie"]
        other = "another token, as long"  # Cookies know no ports: two services of one machine must not share a name.
        with client(local=False, token=other) as beside:
            theirs = beside.get("/", params={"token": other}, follow_redirects=False).headers["set-cookie"]
        assert cookie.partition("=")[0] != theirs.partition("=")[0]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
        assert web.get("/api/models").status_code == 200, "the client keeps the cookie"


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)])
def test_loopback_is_told_from_the_rest(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_other_addresses_need_a_token(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTERISM_TOKEN", raising=False)
    assert main(["serve", "nowhere", "--host", "0.0.0.0"]) == 1
    assert "a token is needed: --token" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="at least 16"):
        serve(["nowhere"], host="0.0.0.0", token="short")
    with pytest.raises(ConfigError, match="requests cannot send"):
        serve(["nowhere"], host="0.0.0.0", token="schön" * 5)


def test_no_answer_is_ever_500(monkeypatch: pytest.MonkeyPatch) -> None:
    with client() as web:
        monkeypatch.setattr("asterism.serving.api.read_request", lambda *a: 1 / 0)
        answer = web.post(URL, files={"image": coded(noise())}, data={"to": "Glasses"})
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert "division" not in answer.text and "/" not in answer.json()["error"]


def test_refusals_carry_a_time_only_where_waiting_helps() -> None:
    assert Refused(503, "full").retry_after == 1 and Refused(422, "no").retry_after is None


def test_a_signal_ends_the_service_with_its_status_in_the_background_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asterism.serving.server.serve", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As a script's shell has it for what it starts by &.
    try:
        assert main(["serve", "faces"]) == 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_drains_and_ends_with_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers send SIGTERM; a load balancer asks /ready until it says no, and what was accepted is answered."""
    served, translate, looked = service(), Service._translate, threading.Event()

    async def slowly(*arguments: Any) -> Any:
        while not looked.is_set():
            await asyncio.sleep(0.02)
        return await translate(*arguments)

    monkeypatch.setattr(Service, "_translate", slowly)
    bound, picture = bind("127.0.0.1", 0), coded(noise())
    where = f"http://127.0.0.1:{bound.getsockname()[1]}"
    server, seen = Server(create_app(served), served, drain=0.2), dict[str, httpx.Response]()

    def ask() -> None:
        send = {"files": {"image": picture}, "data": {"to": "Glasses"}, "timeout": 60}
        while not server.started:
            time.sleep(0.02)
        seen["ready before"] = httpx.get(f"{where}/ready")
        with ThreadPoolExecutor(1) as other:
            accepted = other.submit(httpx.post, f"{where}{URL}", **send)
            while not served.taken:
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)
            while not served.closing:
                time.sleep(0.02)
            seen["ready"], seen["health"] = httpx.get(f"{where}/ready"), httpx.get(f"{where}/health")
            seen["new"] = httpx.post(f"{where}{URL}", **send)
            looked.set()
            seen["accepted"] = accepted.result()

    asking = threading.Thread(target=ask)
    asking.start()
    server.run(sockets=[bound])  # Returns: the signal is not raised again, which would end this process.
    asking.join()
    bound.close()
    status = {name: answer.status_code for name, answer in seen.items()}
    assert status == {"ready before": 200, "ready": 503, "health": 200, "new": 503, "accepted": 200}
    assert seen["new"].headers["retry-after"] and seen["accepted"].headers["content-type"] == "image/png"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{where}/health")
