"""What is given to `translate`: the pictures that training would find, told apart, and kept as they are but for the pixels."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from asterism.data.pictures import SRGB, PictureError, encode, probe, read
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.inputs import find_pictures, result_path
from tests.helpers.negative import inverted, negative

CASES = Path(__file__).parents[3] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="the reported inputs are not in the repository")
RNG = np.random.default_rng(3)


def put(path: Path, size: tuple[int, int] = (16, 16), mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (*size[::-1], len(mode) if mode != "P" else 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)  # type: ignore[arg-type]
    return path


def names(inputs: list[Path], out: Path) -> dict[str, str]:
    return {name: file.as_posix() for file, name in find_pictures(inputs, out)}


@needs_cases
def test_the_reported_folder_is_listed_as_training_lists_it(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(CASES / "translate-folder" / "photos", photos, ignore=shutil.ignore_patterns("album"))
    (photos / "album").symlink_to("../elsewhere")
    shutil.copytree(CASES / "translate-folder" / "elsewhere", tmp_path / "elsewhere")
    summary = translate_folder(negative(), [photos], ["Male"], tmp_path / "out")
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in summary.written)
    assert made == ["a__Male.png", "album/d__Male.png", "b__Male.png", "c__Male.png"]
    assert "other files, passed over: 1" in str(summary) and "__MACOSX" in str(summary)


@needs_cases
def test_the_reported_names_are_told_apart(tmp_path: Path) -> None:
    case = CASES / "translate-same-names"
    assert [*names([case / "one", case / "two"], tmp_path)] == ["one/a", "two/a"]
    assert {*names([case / "mixed"], tmp_path)} == {"a_jpg", "a_png"}


def test_every_way_to_give_two_pictures_of_one_name(tmp_path: Path) -> None:
    a, b = put(tmp_path / "x" / "in" / "a.png"), put(tmp_path / "y" / "in" / "a.png")
    assert names([a, a], tmp_path / "out") == {"a": a.as_posix()}, "given twice, translated once"
    assert names([a, a.parent], tmp_path / "out") == {"a": a.as_posix()}
    found = names([a.parent, b.parent], tmp_path / "out")
    assert sorted(found.values()) == [a.as_posix(), b.as_posix()] and len(found) == 2, "folders of one name, too"
    put(a.with_name("A.JPG"))
    assert {*names([a.parent], tmp_path / "out")} == {"a_png", "A_JPG"}, "some file systems do not tell cases apart"


def test_long_names_are_shortened_before_anything_is_written(tmp_path: Path) -> None:
    first, second = (put(tmp_path / "in" / f"{'é' * 119}{end}.png") for end in "ab")
    summary = translate_folder(negative(), [tmp_path / "in"], ["Male"], tmp_path / "out")
    assert len(summary.written) == 2 and all(path.name.endswith("__Male.png") for path in summary.written)
    assert all(len(os.fsencode(path.name)) <= 230 for path in summary.written)
    np.testing.assert_array_equal(read(summary.written[1]), inverted(read(second)))
    assert result_path(tmp_path, "sub/a.b", "__x.png") == tmp_path / "sub" / "a.b__x.png"


def test_what_pillow_reads_is_a_picture_and_a_pipe_is_none(tmp_path: Path) -> None:
    for suffix in (".jfif", ".jpe", ".jp2", ".avif", ".tga", ".pnm"):
        put(tmp_path / f"a{suffix}")
        assert probe(tmp_path / f"a{suffix}").channels == 3
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(PictureError, match="it is no file"):
        probe(tmp_path / "b.png")
    (tmp_path / "c.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(PictureError, match=r"pip install 'asterism\[heic\]'|not a readable picture|ftyp|HEIF|heif"):
        read(tmp_path / "c.heic")


def test_a_suffix_that_is_not_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"results are not written as \.bmp; use one of \.png"):
        translate_folder(negative(), [put(tmp_path / "a.png")], ["Male"], tmp_path / "x.bmp")


# -- colours, opacity, EXIF --------------------------------------------------------------------------------------------


@needs_cases
def test_the_reported_profile_is_honoured(tmp_path: Path) -> None:
    source = CASES / "translate-icc" / "swapped.png"
    with Image.open(source) as image:
        stored = np.asarray(image.convert("RGB")).astype(int)
        profile = ImageCms.getOpenProfile(__import__("io").BytesIO(image.info["icc_profile"]))
        expected = ImageCms.profileToProfile(image.convert("RGB"), profile, ImageCms.createProfile("sRGB"))
    assert np.abs(read(source).astype(int) - np.asarray(expected)).max() <= 2
    assert np.abs(read(source).astype(int) - stored).max() > 50, "it shows"


def test_results_are_tagged_and_keep_opacity_and_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    source = put(tmp_path / "a.png", (24, 16), "RGBA", exif=exif, icc_profile=SRGB)
    with Image.open(source) as image:
        alpha = np.rot90(np.asarray(image)[:, :, 3], -1)
    translate_folder(negative(), [source], ["Male"], tmp_path / "out")
    for result in (Image.open(tmp_path / "out" / "a__Male.png"), negative().translate(source, "Male")):
        assert result.mode == "RGBA" and result.size == (16, 24)
        np.testing.assert_array_equal(np.asarray(result)[:, :, 3], alpha)
        assert result.info["icc_profile"] == SRGB
        kept = Image.Exif()
        kept.load(result.info["exif"])
        assert kept[0x010F] == "A maker" and 0x0112 not in kept, "the pixels are upright already"


def test_damaged_exif_is_left_out_and_the_picture_is_translated(tmp_path: Path) -> None:
    """Cameras and programs write tags that Pillow reads and cannot write again, such as a unit in 4 bytes in place of 2."""
    exif = Image.Exif()
    exif[0x0128], exif[0x0112] = 2, 1
    source = put(tmp_path / "a.jpg", mode="RGB", exif=exif)
    content, order = source.read_bytes(), "big" if b"Exif\0\0MM" in source.read_bytes() else "little"
    at = content.index((0x0128).to_bytes(2, order) + (3).to_bytes(2, order)) + 2
    for kind in (1, 2, 4, 7, 9):
        source.write_bytes(content[:at] + kind.to_bytes(2, order) + content[at + 2 :])
        summary = translate_folder(negative(), [source], ["Male"], tmp_path / f"out{kind}")
        assert len(summary.written) == 1 and negative().translate(Image.open(source), "Male").mode == "RGB"


def test_what_a_format_cannot_hold_is_said_in_words() -> None:
    for suffix, info, said in (
        (".webp", {}, "17000x1"),
        (".jpg", {"exif": b"Exif\0\0" + bytes(70_000)}, "EXIF data is too long"),
    ):
        with pytest.raises(PictureError, match=f"{suffix} does not hold .*{said}"):
            encode(np.zeros((1, 17_000, 3), np.uint8), suffix, info=info)


def test_pictures_in_srgb_and_with_broken_profiles_are_read_as_they_are(tmp_path: Path) -> None:
    plain = read(put(tmp_path / "a.png"))
    for name, profile in (("b.png", SRGB), ("c.png", b"no profile")):
        Image.fromarray(plain).save(tmp_path / name, icc_profile=profile)
        np.testing.assert_array_equal(read(tmp_path / name), plain)
    translate_folder(negative(), [tmp_path / "a.png"], ["Male"], tmp_path / "out")
    with Image.open(tmp_path / "out" / "a__Male.png") as result:
        assert result.mode == "RGB" and "icc_profile" not in result.info and "exif" not in result.info
