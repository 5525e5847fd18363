"""Parts of large photographs: translated at the model's size, pasted back without a seam, the rest as it was."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.pictures import PictureError, read
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.regions import region_of
from tests.helpers.negative import FACES, MOODS, inverted, negative


def photograph(height: int = 90, width: int = 120) -> np.ndarray:
    """Slow waves of colour under noise of single pixels, which stands for the detail that a model of 16 x 16 never sees."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([110 + 60 * np.sin(x / 17 + c) * np.cos(y / 23 + c) for c in range(3)], -1)
    return np.clip(waves + rng.integers(-8, 9, waves.shape), 0, 255).astype(np.uint8)


def test_the_photograph_keeps_its_size_and_all_that_lies_outside() -> None:
    pixels, model = photograph(), negative()
    result = model.translate(pixels, "Male", regions=[(30, 20, 40, 40)])
    assert result.shape == pixels.shape and result.dtype == pixels.dtype
    outside = np.ones(pixels.shape[:2], bool)
    outside[20:60, 30:70] = False
    np.testing.assert_array_equal(result[outside], pixels[outside])
    inside = result[35:45, 45:55].astype(int)
    assert np.abs(inside - inverted(pixels)[35:45, 45:55]).mean() < 15, "the middle is translated"


def test_the_edge_of_a_part_is_no_seam_and_detail_is_kept() -> None:
    """Across the edge neighbours differ as much as they did, and the noise that the model never saw is there to the value."""
    pixels, model = photograph(), negative()
    result = model.translate(pixels, "Male", regions=[(30, 20, 40, 40)])
    steps = np.abs(np.diff(result.astype(int), axis=1))[20:60].mean((0, 2))
    before = np.abs(np.diff(pixels.astype(int), axis=1))[20:60].mean((0, 2))
    assert steps[[29, 69]].max() < before.max() + 3
    change = result.astype(float) - pixels
    rough, noise = (np.abs(np.diff(held[30:50, 40:60], 2, axis=1)).mean() for held in (change, pixels.astype(float)))
    assert rough < 0.2 * noise, "what is added is smooth"


def test_a_part_of_the_models_own_size_is_translated_as_it_is() -> None:
    pixels, model = photograph(), negative()
    result = model.translate(pixels, "Male", regions=[(40, 30, 16, 16)])
    np.testing.assert_array_equal(result[33:43, 43:53], inverted(pixels)[33:43, 43:53])


def test_a_detector_finds_several_parts_and_the_edges_of_the_picture() -> None:
    pixels, model, seen = photograph(), negative(), []

    def detect(picture: np.ndarray) -> list[tuple[int, int, int, int]]:
        seen.append(picture)
        return [(0, 0, 20, 10), (100, 70, 20, 20)]

    result = model.translate(Image.fromarray(pixels), "Male", regions=detect)
    np.testing.assert_array_equal(seen[0], pixels)
    array = np.asarray(result)
    assert (array[0, 0] != pixels[0, 0]).any() and (array[-1, -1] != pixels[-1, -1]).any(), "no fade at the picture's own edge"
    assert (array[40, 60] == pixels[40, 60]).all()
    assert model.translate(pixels, "Male", regions=lambda _: []).tolist() == pixels.tolist(), "nothing found, nothing changed"


def test_rectangles_that_do_not_go_are_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"the region 100,20,40,40 does not lie in its 120 x 90 pixels"):
        negative().translate(photograph(), "Male", regions=[(100, 20, 40, 40)])
    for text in ("1,2,3", "a,b,c,d", "1,2,0,4", "-1,2,3,4"):
        with pytest.raises(ConfigError, match="expected x,y,w,h in pixels"):
            region_of(text)
    assert region_of("1, 2,3,4") == (1, 2, 3, 4)
    source = _put(tmp_path)
    with pytest.raises(ConfigError, match="regions go with neither"):
        translate_folder(negative(), [source], ["Male"], tmp_path / "o", regions=[(0, 0, 1, 1)], fit="full")


def _put(root: Path) -> Path:
    Image.fromarray(photograph()).save(root / "a.png")
    return root / "a.png"


def test_files_are_translated_in_part_to_every_target(tmp_path: Path) -> None:
    source = _put(tmp_path)
    made = translate_folder(
        negative(FACES, MOODS), [source], ["Male", "happy"], tmp_path / "out", regions=[(30, 20, 40, 40), (80, 50, 20, 20)]
    )
    assert [path.name for path in made.written] == ["a__Male.png", "a__happy.png"]
    result, pixels = read(made.written[0]), read(source)
    assert (
        result.shape == pixels.shape
        and (result[:20] == pixels[:20]).all()
        and (result[55:65, 85:95] != pixels[55:65, 85:95]).any()
    )


def test_the_command_takes_rectangles(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    source = _put(tmp_path)
    words = ["translate", str(run), str(source), "--to", "Red", "--out", str(tmp_path / "x"), "--region", "30,20,40,40"]
    assert main([*words, "--device", "cpu"]) == 0
    assert read(tmp_path / "x" / "a__Red.png").shape == (90, 120, 3)
    assert main([*words, "--region", "3,4"]) == 1 and "expected x,y,w,h" in capsys.readouterr().err


# -- bytes, and videos -------------------------------------------------------------------------------------------------


def test_bytes_and_open_files_are_pictures() -> None:
    file = io.BytesIO()
    Image.fromarray(photograph(16, 16)).save(file, "PNG")
    expected = inverted(photograph(16, 16))
    file.seek(0)
    for given in (file.getvalue(), bytearray(file.getvalue()), file):
        np.testing.assert_array_equal(np.asarray(negative().translate(given, "Male")), expected)
    with pytest.raises(PictureError, match="it is not a readable picture"):
        negative().translate(b"hello", "Male")
    assert len(negative().translate([file.getvalue()] * 2, "Male")) == 2


def test_videos_keep_their_rate_and_sound_and_their_flicker_is_told(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    import subprocess

    words = "-y -loglevel error -f lavfi -i testsrc=size=48x36:rate=8:duration=1 -f lavfi -i sine=duration=1 -shortest"
    subprocess.run([ffmpeg.get_ffmpeg_exe(), *words.split(), str(tmp_path / "film.mp4")], check=True)
    summary = translate_folder(negative(), [tmp_path / "film.mp4"], ["Male"], tmp_path / "out")
    assert [path.name for path in summary.written] == ["film__Male.mp4"]
    frames = ffmpeg.read_frames(str(summary.written[0]))
    about = next(frames)
    assert about["source_size"] == (48, 36) and about["fps"] == 8 and about["audio_codec"] == "aac"
    count = sum(1 for _ in frames)
    assert count == 8
    assert "% flicker" in str(summary) and "0.00%" not in str(summary), "the model doubles every change of the source"
    named = translate_folder(negative(), [tmp_path / "film.mp4"], ["Male"], tmp_path / "mine.mp4")
    assert named.written == [tmp_path / "mine.mp4"] and named.written[0].is_file()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "film.mp4").write_bytes((tmp_path / "film.mp4").read_bytes())
    with pytest.raises(FolderError, match="would be written to one file"):
        translate_folder(negative(), [tmp_path / "film.mp4", tmp_path / "b" / "film.mp4"], ["Male"], tmp_path / "two")
    (tmp_path / "no.mp4").write_bytes(b"hello")
    with pytest.raises(FolderError, match="no.mp4 cannot be read as a video"):
        translate_folder(negative(), [tmp_path / "no.mp4"], ["Male"], tmp_path / "other")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_frames_of_an_animation_are_all_translated_or_the_first_is_and_that_is_told(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (40, 100, 200)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=[100, 200, 300], lossless=True)
    first = translate_folder(negative(), [tmp_path / f"a.{suffix}"], ["Male"], tmp_path / "first")
    assert "several frames, of which the first is read: 1" in str(first) and first.written[0].suffix == ".png"
    summary = translate_folder(negative(), [tmp_path / f"a.{suffix}"], ["Male"], tmp_path / "all", frames="all")
    with Image.open(summary.written[0]) as made:
        assert made.n_frames == 3 and summary.written[0].suffix == f".{suffix}"
        for index, value in enumerate((40, 100, 200)):
            made.seek(index)
            found = np.asarray(made.convert("RGB")).astype(int)
            assert np.abs(found - inverted(np.full((16, 16, 3), value, np.uint8))).max() <= 2


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_damaged_animation_is_left_out_by_name(tmp_path: Path, suffix: str) -> None:
    """It is no result that could not be written, and keeps none of the others from being made."""
    frames = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)) for seed in range(4)]
    for name in ("bad", "good"):
        frames[0].save(tmp_path / f"{name}.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    content = (tmp_path / f"bad.{suffix}").read_bytes()
    (tmp_path / f"bad.{suffix}").write_bytes(
        content[: len(content) * 2 // 3] if suffix == "gif" else content[:-900] + b"\xff" * 900
    )
    summary = translate_folder(negative(), [tmp_path], ["Male"], tmp_path / "out", frames="all")
    assert [path.name for path, _ in summary.skipped] == [f"bad.{suffix}"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"good__Male.{suffix}"]
