"""PNG files of results: what Pillow reads in them is what was written, with EXIF and profile."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from asterism.data.pictures import FAST, SRGB, encode
from asterism.inference.fast_png import fast_png, holds
from asterism.storage.model_file import DEMO


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 20)])
def test_pillow_reads_what_was_written(channels: int, size: tuple[int, int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    for given in (array, np.asfortranarray(array), array[:, ::-1]):
        assert holds(given)
        with Image.open(io.BytesIO(fast_png(given))) as image:
            assert image.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
            np.testing.assert_array_equal(np.asarray(image).reshape(array.shape), given)


def test_sixteen_bits_and_what_is_kept_of_the_source() -> None:
    array = np.random.default_rng(0).integers(0, 2**16, (9, 8, 1), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x010E] = "a drawing"
    info = {"exif": exif.tobytes(), "icc_profile": SRGB}
    with Image.open(io.BytesIO(fast_png(array, info))) as image:
        np.testing.assert_array_equal(np.asarray(image), array[:, :, 0])
        assert image.getexif()[0x010E] == "a drawing" and image.info["icc_profile"] == SRGB
    assert not holds(np.zeros((2, 2, 3), np.uint16)) and not holds(np.zeros((2, 2, 5), np.uint8))


def test_files_are_hardly_larger_than_those_of_pillow() -> None:
    for file in DEMO.with_name("drawings").glob("*.jpg"):
        with Image.open(file) as image:
            array = np.asarray(image.resize((256, 256)))
        assert len(fast_png(array)) < 1.25 * len(encode(array, ".png", compression=FAST))
