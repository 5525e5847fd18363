"""Pictures come upright, in their own depth and channels, and go back to files as they were."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from asterism.data import transforms
from asterism.data.pictures import (
    Header,
    PictureError,
    PictureFormat,
    from_pil,
    probe,
    read,
    to_depth,
    to_float,
    to_pil,
    to_stored,
    write,
)
from asterism.inference import fitting

RNG = np.random.default_rng(0)


def noise(height: int, width: int, channels: int, depth: int = 8) -> np.ndarray:
    return RNG.integers(0, 2**depth, (height, width, channels), dtype=np.uint8 if depth == 8 else np.uint16)


def save_png16(path: Path, array: np.ndarray) -> None:
    """Write 16-bit colour, which Pillow does not write: uint16 [H, W, 3 or 4]."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(noise(5, 9, 3)).save(path, exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(read(path), expected)
    header = probe(path)
    assert (header.height, header.width) == expected.shape[:2]


@pytest.mark.parametrize(
    ("mode", "suffix", "channels", "depth"),
    [
        ("1", ".png", 1, 8),
        ("L", ".png", 1, 8),
        ("LA", ".png", 2, 8),
        ("P", ".png", 3, 8),
        ("RGB", ".jpg", 3, 8),
        ("CMYK", ".jpg", 3, 8),
        ("RGBA", ".webp", 4, 8),
        ("I;16", ".png", 1, 16),
        ("I;16", ".tif", 1, 16),
        ("RGB", ".tif", 3, 8),
    ],
)
def test_header_tells_what_reading_gives(tmp_path: Path, mode: str, suffix: str, channels: int, depth: int) -> None:
    if mode == "I;16":
        picture = Image.fromarray(noise(6, 8, 1, 16)[:, :, 0])
    else:
        picture = Image.fromarray(noise(6, 8, 4 if mode.endswith("A") else 3)).convert(mode)
    path = tmp_path / f"a{suffix}"
    picture.save(path)
    assert probe(path) == Header(width=8, height=6, channels=channels, depth=depth, alpha=mode.endswith("A"))
    array = read(path)
    assert array.shape == (6, 8, channels)
    assert array.dtype == (np.uint8 if depth == 8 else np.uint16)


def test_palette_with_transparency_has_four_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(6, 8, 3)).quantize(8).save(path, transparency=0)
    assert probe(path).channels == 4
    assert set(np.unique(read(path)[:, :, 3])) == {0, 255}


def test_transparency_is_laid_on_white() -> None:
    array = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    assert from_pil(Image.fromarray(array), 3).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    assert from_pil(Image.fromarray(array), 1)[0, 1].tolist() == [255]


def test_grey_and_colour_are_converted_into_each_other() -> None:
    grey = noise(4, 5, 1)
    assert np.array_equal(from_pil(to_pil(grey), 3), np.repeat(grey, 3, axis=2))
    colour = noise(4, 5, 3)
    pillow = np.array(Image.fromarray(colour).convert("L")).astype(int)
    assert np.abs(from_pil(to_pil(colour), 1)[:, :, 0].astype(int) - pillow).max() <= 1
    both = noise(4, 5, 2)
    assert np.array_equal(from_pil(to_pil(both), 4)[:, :, 2:], both), "opacity is kept"


def test_no_channel_is_made_up(tmp_path: Path) -> None:
    """A model of four channels, of an MR scanner or with opacity, is not given a constant one."""
    for array, channels in ((noise(4, 5, 3), 4), (noise(4, 5, 1), 2)):
        write(tmp_path / "a.png", array)
        assert not probe(tmp_path / "a.png").converts_to(channels)
        with pytest.raises(PictureError, match=f"{channels - 1} channels?, which cannot be converted to {channels}"):
            read(tmp_path / "a.png", channels)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_png_keeps_every_bit(tmp_path: Path, channels: int) -> None:
    array = noise(5, 7, channels, 16)
    save_png16(tmp_path / "a.png", array)
    assert probe(tmp_path / "a.png") == Header(7, 5, channels, 16, alpha=channels == 4)
    assert np.array_equal(read(tmp_path / "a.png"), array)


@pytest.mark.parametrize(
    ("suffix", "channels", "depth"),
    [(".png", 1, 8), (".png", 2, 8), (".png", 3, 8), (".png", 4, 8), (".png", 1, 16), (".tif", 1, 8), (".tif", 3, 8)]
    + [(suffix, channels, 16) for suffix in (".tif", ".npy") for channels in (1, 3, 5)]
    + [(".npy", 7, 8), (".tif", 7, 8)],
)
def test_lossless_files_give_back_the_same_values(tmp_path: Path, suffix: str, channels: int, depth: int) -> None:
    array = noise(9, 6, channels, depth)
    write(tmp_path / f"a{suffix}", array)
    assert probe(tmp_path / f"a{suffix}") == Header(6, 9, channels, depth, alpha=suffix == ".png" and channels in (2, 4))
    assert np.array_equal(read(tmp_path / f"a{suffix}"), array)


def test_tiff_with_the_channels_first_is_understood(tmp_path: Path) -> None:
    array = noise(9, 6, 5, 16)
    tifffile.imwrite(tmp_path / "a.tif", array.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")
    assert np.array_equal(read(tmp_path / "a.tif"), array)


def test_a_band_of_an_array_is_not_taken_for_transparency(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", noise(4, 4, 4))
    with pytest.raises(PictureError, match="4 channels, which cannot be converted to 3"):
        read(tmp_path / "a.npy", 3)


def test_formats_that_cannot_hold_a_picture_say_what_can(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"16 bits.*\.tif"):
        write(tmp_path / "a.jpg", noise(4, 4, 1, 16))
    with pytest.raises(PictureError, match=r"5 channels.*\.tif"):
        write(tmp_path / "a.png", noise(4, 4, 5))
    with pytest.raises(PictureError, match=r"use one of \.jpg"):
        write(tmp_path / "a.xyz", noise(4, 4, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = noise(4, 4, 3)
    write(tmp_path / "a.png", old)

    def full(self: Path, content: bytes) -> int:
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "a.png", noise(4, 4, 3))
    assert np.array_equal(read(tmp_path / "a.png"), old)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_broken_files_are_explained(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    write(tmp_path / "whole.jpg", noise(64, 64, 3))
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "header.jpg").write_bytes(whole[:20])
    (tmp_path / "body.jpg").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "int.npy", np.zeros((4, 4), np.int32))
    reasons = {
        "empty.jpg": "empty",
        "text.png": "not a readable picture",
        "int.npy": "int32",
        "gone.jpg": "no such file",
    }
    with pytest.raises(PictureError):
        probe(tmp_path / "header.jpg")
    for name, reason in reasons.items():
        with pytest.raises(PictureError, match=reason):
            probe(tmp_path / name)
    assert probe(tmp_path / "body.jpg").width == 64  # The header is whole.
    with pytest.raises(PictureError, match="truncated"):
        read(tmp_path / "body.jpg")


@pytest.mark.parametrize("depth", [8, 16])
def test_stored_values_survive_the_way_to_float_and_back(depth: int) -> None:
    picture = PictureFormat(1, 16, 16, 0, 2**depth - 1, depth)
    stored = torch.from_numpy(np.arange(2**depth).astype(np.uint8 if depth == 8 else np.uint16).reshape(1, 1, 16, -1))
    x = to_float(stored, picture)
    assert (x.min(), x.max(), x.dtype) == (-1, 1, torch.float32)
    back = to_stored(x, picture)
    assert back.dtype == stored.dtype
    assert np.array_equal(back.numpy(), stored.numpy())


def test_a_value_range_is_stretched_and_clipped() -> None:
    picture = PictureFormat(1, 1, 3, low=100, high=300, depth=16)
    stored = torch.tensor([[[[50, 200, 300]]]], dtype=torch.int32).to(torch.uint16)
    assert to_float(stored, picture).flatten().tolist() == [-1, 0, 1]
    assert to_stored(torch.tensor([[[[-7.0, 0.5, 1.0]]]]), picture).to(torch.int32).flatten().tolist() == [100, 250, 300]


def test_depths_keep_full_scale() -> None:
    values = np.arange(256, dtype=np.uint8)[:, None, None]
    wide = to_depth(values, 16)
    assert (wide.dtype, wide.max()) == (np.uint16, 65535)
    assert np.array_equal(to_depth(wide, 8), values)


# -- on the device -----------------------------------------------------------------------------------------------------


def test_fit_keeps_the_centre() -> None:
    x = torch.zeros(1, 1, 218, 178)
    x[:, :, 20:198] = 1.0  # The rows that CelebA's crop of 178 keeps.
    y = transforms.fit(x, PictureFormat(1, 64, 64, crop=178))
    assert y.shape == (1, 1, 64, 64)
    assert y.min() > 0.999
    assert transforms.crop_box(218, 178, PictureFormat(1, 64, 64, crop=178)) == (20, 0, 178, 178)


@pytest.mark.parametrize(("height", "width"), [(100, 50), (50, 100), (64, 48), (33, 47)])
def test_fit_takes_the_largest_area_of_the_right_shape(height: int, width: int) -> None:
    box = transforms.crop_box(height, width, PictureFormat(3, 64, 48))
    assert box.height == height or box.width == width
    assert abs(box.height / box.width - 64 / 48) < 0.05
    assert transforms.fit(torch.zeros(2, 3, height, width), PictureFormat(3, 64, 48)).shape == (2, 3, 64, 48)


def test_a_picture_of_the_right_size_is_untouched() -> None:
    x = torch.rand(1, 3, 16, 12)
    assert torch.equal(transforms.fit(x, PictureFormat(3, 16, 12)), x)
    padded, box = fitting.letterbox(x, 16, 12)
    assert torch.equal(fitting.unletterbox(padded, box, 16, 12), x)


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40), (31, 64), (128, 128)])
def test_a_letterboxed_picture_comes_back_in_place(height: int, width: int) -> None:
    ramp = torch.linspace(-1, 1, height)[:, None] + torch.linspace(-1, 1, width)[None, :]
    x = ramp.expand(1, 3, height, width) / 2
    y, box = fitting.letterbox(x, 64, 64)
    assert y.shape == (1, 3, 64, 64)
    back = fitting.unletterbox(y, box, height, width)
    assert back.shape == x.shape
    assert (back - x).abs().max() < 0.05


def test_a_crop_is_pasted_back_where_it_was() -> None:
    x = torch.zeros(1, 1, 20, 30)
    picture = PictureFormat(1, 8, 8, crop=10)
    pasted = fitting.paste(x, torch.ones(1, 1, 8, 8), transforms.crop_box(20, 30, picture))
    assert pasted.sum() == 100
    assert pasted[0, 0, 5:15, 10:20].min() == 1


def test_mirror_turns_only_the_flagged() -> None:
    x = torch.rand(2, 1, 3, 4)
    y = transforms.mirror(x, torch.tensor([True, False]))
    assert torch.equal(y[0], x[0].flip(-1))
    assert torch.equal(y[1], x[1])


# -- JPEG ----------------------------------------------------------------------------------------------------------------


def test_a_jpeg_that_is_cut_off_or_turned(tmp_path):
    path = tmp_path / "whole.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(path, quality=60, subsampling=0)
    upright = read(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.save(tmp_path / "turned.jpg", quality=100, subsampling=0, exif=exif)
    turned = np.rot90(read(tmp_path / "turned.jpg"))
    assert np.abs(turned.astype(int) - upright).max() <= 4
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(PictureError, match="(?i)truncated"):
        read(path)
