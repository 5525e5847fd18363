"""Files at their own resolution: TIFFs of every kind read and written in parts, with the tags that place them on Earth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from asterism.data.pictures import PictureError, PictureFormat, read
from asterism.inference import full_files
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.tiff_rows import GEOREFERENCE, TiffRows, Unstreamable
from asterism.storage.whole import PARTIAL
from tests.inference.test_tiles import plain

GEO = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611), True),
    (34736, 12, 1, (6378137.0,), True),
    (34737, 2, 8, "WGS 84|", True),
    (42112, 2, 0, "<GDALMetadata></GDALMetadata>", True),
    (42113, 2, 0, "0", True),
]


def pixels(channels: int = 3, dtype: Any = np.uint8, height: int = 70, width: int = 101) -> np.ndarray:
    """Rows and columns that all differ, so that a part that lies elsewhere is found."""
    y, x, c = np.mgrid[:height, :width, :channels]
    return ((7 * y + 3 * x + 50 * c) * (1 if dtype == np.uint8 else 251) % (np.iinfo(dtype).max + 1)).astype(dtype)


LAYOUTS: dict[str, tuple[tuple[int, Any], dict[str, Any]]] = {
    "strips": ((3, np.uint8), {"rowsperstrip": 7}),
    "one strip": ((3, np.uint8), {}),
    "tiles, deflate, predictor": ((3, np.uint8), {"tile": (32, 16), "compression": "zlib", "predictor": True}),
    "16 bits, big-endian": ((3, np.uint16), {"tile": (16, 16), "compression": "zlib", "byteorder": ">"}),
    "grey": ((1, np.uint16), {"rowsperstrip": 16, "compression": "zlib", "predictor": True}),
    "planes": ((3, np.uint16), {"planarconfig": "separate", "rowsperstrip": 9, "compression": "zlib"}),
    "five channels": ((5, np.uint8), {"planarconfig": "contig", "photometric": "minisblack", "tile": (16, 32)}),
    "BigTIFF": ((3, np.uint8), {"bigtiff": True, "tile": (16, 16)}),
    "LZMA": ((3, np.uint8), {"compression": "lzma", "rowsperstrip": 8}),
}


def save(path: Path, array: np.ndarray, **options: Any) -> None:
    held = {"bigtiff": options.pop("bigtiff", False), "byteorder": options.pop("byteorder", "<")}
    shown = {"photometric": "rgb"} if array.shape[2] == 3 else {}
    if options.get("planarconfig") == "separate":
        array = array.transpose(2, 0, 1)
    with tifffile.TiffWriter(path, **held) as file:
        file.write(array[:, :, 0] if array.shape[-1] == 1 else array, **(shown | options))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiffs_are_read_in_parts_and_written_in_tiles(layout: str, tmp_path: Path) -> None:
    (channels, dtype), options = LAYOUTS[layout]
    array, depth = pixels(channels, dtype), 8 * np.dtype(dtype).itemsize
    save(tmp_path / "in.tif", array, **options, extratags=GEO, resolution=(300, 300), resolutionunit="inch")
    with TiffRows(tmp_path / "in.tif", PictureFormat(channels, 16, 16, high=2**depth - 1, depth=depth)) as rows:
        for top, bottom in ((0, 1), (3, 40), (69, 70), (0, 70)):
            np.testing.assert_array_equal(rows.read(top, bottom), array[top:bottom])
    model = plain(channels=channels, depth=depth)
    (path,) = translate_folder(model, [tmp_path / "in.tif"], ["Smiling"], tmp_path / "out", fit="full", tile=32).written
    assert path == tmp_path / "out" / "in__Smiling.tif"
    np.testing.assert_array_equal(read(path), array)
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        assert page.is_tiled and page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE and page.resolution == (300, 300)
        tags = {tag[0]: tag[3] for tag in GEO}
        assert {code: page.tags.valueof(code) for code in tags} == tags and set(tags) < set(GEOREFERENCE)


@pytest.mark.parametrize(
    ("mode", "compression"), [("RGB", "tiff_lzw"), ("L", "tiff_lzw"), ("RGB", "packbits"), ("I;16", "tiff_lzw")]
)
def test_what_pillow_packs_is_read_in_parts(mode: str, compression: str, tmp_path: Path) -> None:
    array = pixels(3 if mode == "RGB" else 1, np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(array if mode == "RGB" else array[:, :, 0])
    image.save(tmp_path / "in.tif", compression=compression, tiffinfo={278: 16})
    depth = 8 * array.itemsize
    with TiffRows(tmp_path / "in.tif", PictureFormat(array.shape[2], 16, 16, high=2**depth - 1, depth=depth)) as rows:
        np.testing.assert_array_equal(rows.read(10, 55), array[10:55])


def test_jpegs_in_a_tiff_are_read_as_pillow_reads_them(tmp_path: Path) -> None:
    y, x = np.mgrid[:96, :128]
    array = np.stack([y + 40, x + 20, (x + y) // 2], 2).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "in.tif", compression="jpeg", quality=90, tiffinfo={278: 16})
    with TiffRows(tmp_path / "in.tif", PictureFormat(3, 16, 16)) as rows:
        assert np.abs(rows.read(0, 96).astype(int) - read(tmp_path / "in.tif")).max() <= 2


def test_channels_and_depths_are_converted_as_whole_pictures_are(tmp_path: Path) -> None:
    rgba = pixels(4)
    save(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=("unassalpha",), rowsperstrip=9)
    save(tmp_path / "grey.tif", pixels(1), rowsperstrip=9)
    save(tmp_path / "deep.tif", pixels(3, np.uint16), rowsperstrip=9)
    for name in ("rgba.tif", "grey.tif", "deep.tif"):
        results = []
        for fit in ("full", "crop"):
            out = tmp_path / fit
            model = plain(size=(70, 101))  # Fits the picture, so that nothing is resized.
            results.append(
                read(translate_folder(model, [tmp_path / name], ["Smiling"], out, fit=fit, format=".png").written[0])
            )
        np.testing.assert_array_equal(*results)


def test_files_that_cannot_be_read_in_parts_are_read_whole_or_named(tmp_path: Path) -> None:
    palette = Image.fromarray(pixels()).quantize(16)
    palette.save(tmp_path / "palette.tif")
    with pytest.raises(Unstreamable, match="its colours are PALETTE"):
        TiffRows(tmp_path / "palette.tif", PictureFormat(3, 16, 16))
    tifffile.imwrite(tmp_path / "floats.tif", pixels().astype(np.float32), photometric="rgb")
    save(tmp_path / "dark.tif", pixels(3, np.uint16) // 64, rowsperstrip=4)
    save(tmp_path / "broken.tif", pixels(), rowsperstrip=8, compression="zlib")
    content = bytearray((tmp_path / "broken.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "broken.tif") as file:
        offset = file.pages.first.dataoffsets[5]
    content[offset : offset + 8] = bytes(8)
    (tmp_path / "broken.tif").write_bytes(content)
    (tmp_path / "empty.tif").write_bytes(b"")
    summary = translate_folder(plain(), [tmp_path], ["Smiling"], tmp_path / "out", fit="full")
    assert [path.name for path in summary.written] == ["palette__Smiling.tif"]
    np.testing.assert_array_equal(read(summary.written[0]), np.asarray(palette.convert("RGB")))
    reasons = {path.name: reason for path, reason in summary.skipped}
    assert set(reasons) == {"broken.tif", "dark.tif", "empty.tif", "floats.tif"}
    assert "strip or tile 5 of it cannot be unpacked" in reasons["broken.tif"] and "nearly black" in reasons["dark.tif"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["palette__Smiling.tif"]  # No half files.


def test_a_stopped_job_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        save(tmp_path / "in" / f"{name}.tif", pixels(), rowsperstrip=8)
    usual, calls = full_files.to_array, 0

    def stopping(*arguments: Any) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 11:  # A picture has eight rows of tiles.
            raise KeyboardInterrupt
        return usual(*arguments)

    monkeypatch.setattr(full_files, "to_array", stopping)
    with pytest.raises(KeyboardInterrupt):
        translate_folder(plain(), [tmp_path / "in"], ["Smiling"], tmp_path / "out", fit="full", tile=16)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a__Smiling.tif"]
    before = (tmp_path / "out" / "a__Smiling.tif").stat().st_mtime_ns
    with pytest.raises(FolderError, match="--skip-existing"):
        translate_folder(plain(), [tmp_path / "in"], ["Smiling"], tmp_path / "out", fit="full", tile=16)
    for how in ({"fit": "full", "tile": 16}, {"format": ".tif"}):
        again = translate_folder(plain(), [tmp_path / "in"], ["Smiling"], tmp_path / "out", skip_existing=True, **how)
        assert (tmp_path / "out" / "a__Smiling.tif").stat().st_mtime_ns == before
        if "fit" in how:
            assert [path.name for path in again.written] == ["b__Smiling.tif", "c__Smiling.tif"]
            assert "already there: 1" in str(again)
    np.testing.assert_array_equal(read(tmp_path / "out" / "c__Smiling.tif"), pixels())
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(PARTIAL)]


def test_letterboxed_results_that_are_there_stay(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    Image.fromarray(pixels()).save(tmp_path / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a__Smiling.png").write_text("mine")
    sources = [tmp_path / "a.png", tmp_path / "b.png"]
    summary = translate_folder(plain(), sources, ["Smiling"], tmp_path / "out", skip_existing=True)
    assert summary.written == [tmp_path / "out" / "b__Smiling.png"] and len(summary.kept) == 1
    assert (tmp_path / "out" / "a__Smiling.png").read_text() == "mine"


def test_masks_and_figures_of_changes_go_with_tiles(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(pixels(1)[:, :, 0]).save(tmp_path / "masks" / "a.png")
    model = plain(masks=("fine", "coarse"), multiple=None)
    written = translate_folder(
        model, [tmp_path / "a.png"], ["Smiling"], tmp_path / "out", fit="full", masks=[tmp_path / "masks"], changes=0.25
    ).written
    assert [path.name for path in written] == ["a__Smiling.png", "a__Smiling-changes.png"]
    first = model.recipe.seen_masks[0][0, 0]
    np.testing.assert_allclose(first, pixels(1)[:16, :16, 0] / 255, atol=1e-6)


def test_what_is_chosen_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        Image.fromarray(pixels()).save(tmp_path / f"{name}.png")
    summary = translate_folder(plain(), [tmp_path], ["Smiling"], tmp_path / "out", fit="full", tile=32, progress=True)
    said = capsys.readouterr().err
    assert (
        said.count("a.png: 101 x 70 pixels, in 24 tiles of 32 x 32 that overlap by 16: as asked for") == 1
        and "b.png" not in said
    )
    assert "tiles differed by 0.00% of the value range" in str(summary)


def test_tiles_need_full_resolution(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="tiles are for fit full"):
        translate_folder(plain(), [tmp_path / "a.png"], ["Smiling"], tmp_path / "out", tile=32)
    assert not (tmp_path / "out").exists()


def test_rows_that_cannot_be_converted_are_refused_at_once(tmp_path: Path) -> None:
    save(tmp_path / "in.tif", pixels(5), planarconfig="contig", photometric="minisblack")
    with pytest.raises(PictureError, match="5 channels, which cannot be converted to 3"):
        TiffRows(tmp_path / "in.tif", PictureFormat(3, 16, 16))
