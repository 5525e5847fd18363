"""`python -m bench.serve_load RUN`: the service under load, against the bare translator on the same files.

A service of its own process is asked by many clients at once for mixed pictures, among them broken ones. Every answer is
compared with what the translator says. The bare translator reads the same files, in batches, and writes the same results;
the two take turns, and what is compared is CPU time, which other work on the machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

import asterism
from asterism.data.pictures import decode, encode
from asterism.inference.images import Picture, open_image, to_array
from asterism.inference.styles import Target
from asterism.inference.translator import Translator
from asterism.serving.service import RETURN_EVERY

SIZES = ((32, 32), (64, 64), (64, 64), (64, 64), (96, 64), (128, 128), (200, 150), (256, 256))
KINDS = ("PNG", "JPEG", "JPEG", "WEBP")
FIRST = 200
"""Requests after which the memory of the idle service is what it is compared with at the end."""
DISTINCT = 120
"""Different requests; they are sent again and again in a random order."""


@dataclass(frozen=True)
class Case:
    """One request: the upload, the target, the bytes sent, and the status that is right."""

    upload: bytes
    to: str
    kind: str
    request: bytes
    status: int


@dataclass
class Outcome:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    peak: int = 0


def cases(model: str, labels: Sequence[str], rng: random.Random) -> list[Case]:
    """Return the requests: one in twenty is no picture or a broken one."""
    made = []
    for number in range(DISTINCT):
        width, height = rng.choice(SIZES)
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        kind, file = rng.choice(KINDS), io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file, kind)
        upload, status = file.getvalue(), 200
        if number % 20 == 7:
            upload, status = rng.choice(((upload[: len(upload) // 2], 422), (b"", 400), (b"GIF89a" + upload, 415)))
        to = rng.choice(labels)
        made.append(Case(upload, to, kind, _request(model, upload, to), status))
    return made


def _request(model: str, upload: bytes, to: str) -> bytes:
    line = b"--edge\r\nContent-Disposition: form-data; name="
    body = b"".join((line, b'"to"\r\n\r\n', to.encode(), b"\r\n"))
    body += b"".join((line, b'"image"; filename="x"\r\n\r\n', upload, b"\r\n--edge--\r\n"))
    head = f"POST /api/models/{model}/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n" + body


async def ask(port: int, made: Sequence[Case], count: int, clients: int, server: psutil.Process, seed: int) -> Outcome:
    """Send `count` requests from `clients` connections, each of which waits for its answer before it asks again."""
    outcome, order = Outcome(), random.Random(seed)
    numbers = iter([order.randrange(len(made)) for _ in range(count)])
    done = 0

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            start = time.perf_counter()
            writer.write(made[number].request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
            body = await reader.readexactly(length)
            outcome.seconds.append(time.perf_counter() - start)
            if int(head.split()[1]) != made[number].status:
                outcome.wrong.append(f"{head.split()[1].decode()} where {made[number].status} is right: {body[:200]!r}")
            elif made[number].status == 200:
                outcome.bodies.append((number, body))
            done += 1
            if done % 20 == 0:
                outcome.peak = max(outcome.peak, server.memory_info().rss)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcome


def bare(translator: Translator, made: Sequence[Case], count: int, batch_size: int) -> dict[int, bytes]:
    """Do the same work without a service: read each file, translate in batches of one target, write each result."""
    order = [number for number in range(len(made)) if made[number].status == 200]
    order = [order[i % len(order)] for i in range(count)]
    order.sort(key=lambda number: made[number].to)
    results: dict[int, bytes] = {}
    for to in dict.fromkeys(made[number].to for number in order):
        mine = [number for number in order if made[number].to == to]

        def pictures(numbers: Sequence[int] = mine) -> Iterator[Picture]:
            for number in numbers:
                array = decode(made[number].upload, made[number].kind, translator.model.picture.channels)
                yield open_image(array, translator.model.picture)

        rows = translator.stream(pictures(), [Target(translator.parse(to))], batch_size=batch_size)
        for number, (_, (y,)) in zip(mine, rows, strict=True):
            results[number] = encode(to_array(y, translator.model.picture), ".png", compression=1)
    return results


def why_not_comparable(body: bytes, expected: bytes) -> bool:
    """Say whether two results differ by more than the order of additions makes them, in bfloat16 at the most."""
    one, other = (np.asarray(Image.open(io.BytesIO(content))).astype(int) for content in (body, expected))
    return one.shape != other.shape or float(np.abs(one - other).mean()) > 1.5


def main() -> None:
    """Measure, print, and fail on a wrong answer or on growing memory."""
    parser = argparse.ArgumentParser(prog="bench.serve_load", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run or model file")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4, help="turns of service and bare translator")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    args = parser.parse_args()
    if args.requests < 2 * FIRST:
        parser.error(f"--requests {args.requests}: at least {2 * FIRST}, of which the first {FIRST} make the service warm")
    machine = ["--device", args.device, "--precision", args.precision]
    command = [sys.executable, "-m", "asterism", "serve", args.run, "--port", "0", *machine]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"serving (\S+) at http://127\.0\.0\.1:(\d+)", said)
        if not found:
            raise SystemExit(f"the service did not start: {said}")
        numbers = measure(args, found[1], int(found[2]), psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(30)
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=2) + "\n")
    if numbers["wrong"] or numbers["memory_ratio"] > 1.05:
        raise SystemExit("a wrong answer, or memory that grows")


def measure(args: argparse.Namespace, model: str, port: int, server: psutil.Process) -> dict[str, Any]:
    """Let service and bare translator take turns; print and return the numbers."""
    translator = asterism.load(args.run, device=args.device, precision=args.precision)
    made = cases(model, translator.labels, random.Random(0))
    good = sum(case.status == 200 for case in made) / len(made)
    part, own = (args.requests - FIRST) // args.rounds, psutil.Process()
    served, alone, walls, bare_walls = [], [], [], []
    expected = bare(translator, made, len(made), 16)
    outcome = asyncio.run(ask(port, made, FIRST, args.clients, server, args.rounds))
    first = _idle(server)
    for turn in range(args.rounds):
        before, start = _cpu(server), time.perf_counter()
        seen = asyncio.run(ask(port, made, part, args.clients, server, turn))
        walls.append(time.perf_counter() - start)
        served.append((_cpu(server) - before) / (part * good))
        outcome.seconds += seen.seconds
        outcome.wrong += seen.wrong
        outcome.bodies += seen.bodies
        outcome.peak = max(outcome.peak, seen.peak)
        before, start = _cpu(own), time.perf_counter()
        bare(translator, made, part // 2, 16)
        alone.append((_cpu(own) - before) / (part // 2))
        bare_walls.append(time.perf_counter() - start)
    last, taken = _idle(server), sorted(outcome.seconds)
    outcome.wrong += [f"another picture for request {n}" for n, body in outcome.bodies if why_not_comparable(body, expected[n])]
    numbers = {
        "machine": f"{translator.machine.reason}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
        "requests": len(taken),
        "clients": args.clients,
        "wrong": outcome.wrong[:20],
        "p50_seconds": taken[len(taken) // 2],
        "p99_seconds": taken[int(len(taken) * 0.99)],
        "images_per_second": args.rounds * part * good / sum(walls),
        "bare_images_per_second": args.rounds * (part // 2) / sum(bare_walls),
        "service_cpu_seconds_per_image": statistics.median(served),
        "bare_cpu_seconds_per_image": statistics.median(alone),
        "share_of_bare": statistics.median(alone) / statistics.median(served),
        "memory_after_200": first,
        "memory_at_the_end": last,
        "memory_ratio": last / first,
        "memory_peak": outcome.peak,
    }
    for name, value in numbers.items():
        print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}")
    return numbers


def _idle(server: psutil.Process) -> int:
    """Return the memory of a service that has answered everything, when it has had the time to tidy up."""
    time.sleep(2 * RETURN_EVERY + 1)
    return int(server.memory_info().rss)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
