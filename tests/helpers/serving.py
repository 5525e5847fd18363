"""What the tests of the service share: a small model of random weights, its service, and pictures as files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="serving needs the extra: asterism[serve]")

from starlette.testclient import TestClient

from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.recipes.model import Model
from asterism.serving.app import create_app
from asterism.serving.hosted import Hosted
from asterism.serving.limits import Limits
from asterism.serving.service import Service
from tests.helpers.recipes import tiny

GROUPS = "faces:binary:Black_Hair,Blond_Hair,Glasses;moods:one_of:happy,sad"


def translator(recipe: str = "stargan", groups: str = GROUPS) -> Translator:
    """A translator of random weights, 32 x 32 pixels, so that every target gives another picture."""
    made = tiny(recipe, LabelSpace.from_text(groups)).eval().requires_grad_(False)
    return Translator(Model(made, recipe, made.space, made.picture, made.config, {}), "cpu", "float32")


def service(limits: Limits | None = None, **translators: Translator) -> Service:
    """A service over translators by name; without any, over one called `faces`."""
    named = translators or {"faces": translator()}
    return Service({name: Hosted(name, t, None) for name, t in named.items()}, limits)


@contextmanager
def client(served: Service | None = None, **options: Any) -> Iterator[TestClient]:
    """A client of the application in this process; the service is closed at the end."""
    with TestClient(create_app(served or service(), **options), base_url="http://127.0.0.1:7860") as opened:
        yield opened


def noise(width: int = 32, height: int = 32, seed: int = 0, channels: int = 3) -> np.ndarray:
    """A smooth random picture [H, W, C], uint8, so that JPEG keeps it well."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    planes = [Image.fromarray(coarse[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def coded(array: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture's file."""
    file = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(file, format, **options)
    return file.getvalue()


def deflated_tiff(array: np.ndarray, packed: bytes | None = None, pages: int = 1, compression: int = 8) -> bytes:
    """A TIFF of 16-bit colour [H, W, C] as one deflated strip, or of `packed` in its place, on as many equal pages."""
    height, width, channels = array.shape
    strip = zlib.compress(array.astype("<u2").tobytes()) if packed is None else packed
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, channels, 8), 259: (3, 1, compression), 262: (3, 1, 2)}
    entries |= {273: (4, 1, 8 + len(bits)), 277: (3, 1, channels), 278: (4, 1, height), 279: (4, 1, len(strip))}
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, *e) for tag, e in entries.items())
    first = 8 + len(bits) + len(strip)
    after = [first + (i + 1) * (len(directory) + 4) for i in range(pages - 1)] + [0]
    head = b"II*\0" + struct.pack("<I", first) + bits + strip
    return head + b"".join(directory + struct.pack("<I", at) for at in after)


def opened(content: bytes) -> np.ndarray:
    """The pixels [H, W, C] of a picture's file."""
    array = np.asarray(Image.open(io.BytesIO(content)))
    return array if array.ndim == 3 else array[:, :, None]
