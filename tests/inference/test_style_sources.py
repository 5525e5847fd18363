"""What styles and differences look like as files: interpolations, grids, figures of change, masks from folders."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat, read, write
from asterism.inference.difference import difference, figure, heat_map
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.grid import draw_grid
from asterism.inference.interpolation import interpolate_files
from asterism.inference.png_rows import png_rows
from asterism.inference.sequence import SLOWEST, check_kind, write_sequence
from asterism.recipes.model import save_model
from tests.helpers.masks import build
from tests.helpers.negative import negative
from tests.helpers.recipes import SPACES, tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> asterism.Translator:
    path = tmp_path_factory.mktemp("v2") / "model.safetensors"
    recipe = tiny("stargan_v2", SPACES["folders"])
    save_model(path, recipe, "stargan_v2", recipe.state_dict(), info={})
    return asterism.load(path, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of other sizes and colours, smooth, so that compression and few colours do them no harm."""
    root = tmp_path_factory.mktemp("album")
    for number, (name, (height, width)) in enumerate((("a", (32, 32)), ("b", (40, 30)), ("c", (33, 47)))):
        down, right = np.mgrid[0:height, 0:width] * (255 / np.array([height, width]))[:, None, None]
        write(root / f"{name}.png", np.stack(np.roll([down, right, 255 - down], number, 0), 2).astype(np.uint8))
    return root


# -- interpolation -----------------------------------------------------------------------------------------------------


def test_a_line_of_styles_in_python(model: asterism.Translator, album: Path) -> None:
    frames = list(model.interpolate(album / "b.png", "red", [1, album / "a.png", 2], steps=3, batch_size=4))
    assert len(frames) == 7 and all(f.size == (30, 40) for f in frames)
    for number, style in ((0, {"style": 1}), (3, {"like": album / "a.png"}), (6, {"style": 2})):
        alone = np.asarray(model.translate(album / "b.png", "red", **style), dtype=int)
        assert np.abs(np.asarray(frames[number], dtype=int) - alone).max() <= 1
    middle = model.translate(album / "b.png", "red", style=model.between(1, album / "a.png", 1 / 3))
    assert np.abs(np.asarray(frames[1], dtype=int) - np.asarray(middle, dtype=int)).max() <= 1
    with pytest.raises(ConfigError, match="two or more styles"):
        model.interpolate(album / "b.png", "red", [1])


@pytest.mark.parametrize("kind", ["strip", "gif", "mp4", "frames"])
def test_every_picture_becomes_a_sequence(model: asterism.Translator, album: Path, tmp_path: Path, kind: str) -> None:
    if kind == "mp4":
        pytest.importorskip("imageio_ffmpeg")
    looks = [model.style(seed=1), model.style(seed=2)]
    (album / "broken.png").write_bytes(b"no picture")
    try:
        summary = interpolate_files(
            model, [album], "red", looks, tmp_path, kind=kind, steps=4, side=64 if kind == "strip" else None
        )
    finally:
        (album / "broken.png").unlink()
    assert [path.name for path, _ in summary.skipped] == ["broken.png"]
    ending = {"strip": ".png", "gif": ".gif", "mp4": ".mp4", "frames": ""}[kind]
    results = sorted(tmp_path.iterdir())
    assert [p.name for p in results] == [f"{n}__red-styles{ending}" for n in "abc"], "nothing else, nothing half-written"
    ends = [np.asarray(model.translate(album / "c.png", "red", style=seed), dtype=int) for seed in (1, 2)]
    if kind == "strip":
        assert Image.open(results[2]).size == (6 * 72, 45 + 8), "the source and five styles"
    elif kind == "gif":
        gif = Image.open(results[2])
        assert gif.n_frames == 5 and gif.size == (47, 33) and gif.info["duration"] == 80
        first = np.asarray(gif.convert("RGB"), dtype=int)
        gif.seek(4)
        for frame, (end, other) in ((first, ends), (np.asarray(gif.convert("RGB"), dtype=int), ends[::-1])):
            assert np.abs(frame - end).mean() < 10 < np.abs(frame - other).mean()
    elif kind == "mp4":
        import imageio.v2 as imageio

        frames = [frame for frame in imageio.get_reader(results[2], format="FFMPEG")]
        assert len(frames) == 5 and frames[0].shape == (34, 48, 3), "odd sides are filled up"
        shown = frames[0][:33, :47].astype(int)  # Half the colour resolution, and an untrained model's edges.
        assert np.abs(shown - ends[0]).mean() < 16 < np.abs(shown - ends[1]).mean()
    else:
        frames = sorted(results[2].iterdir())
        assert [f.name for f in frames] == [f"000{k}.png" for k in range(1, 6)]
        assert np.abs(read(frames[-1]).astype(int) - ends[1]).max() <= 1
        (results[2] / "notes.txt").write_text("mine")
        interpolate_files(model, [album / "c.png"], "red", looks, tmp_path, kind=kind, steps=2, overwrite=True)
        assert [f.name for f in sorted(results[2].iterdir())] == ["0001.png", "0002.png", "0003.png", "notes.txt"]


def test_a_video_without_its_extra_names_it(model: asterism.Translator, album: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio.v2", None)
    looks = [model.style(seed=1), model.style(seed=2)]
    with pytest.raises(ConfigError, match=r'pip install "asterism\[video\]"'):
        interpolate_files(model, [album], "red", looks, tmp_path / "out", kind="mp4")
    assert not (tmp_path / "out").exists()


# -- grids -------------------------------------------------------------------------------------------------------------


def test_a_grid_shows_references_on_top_and_sources_at_the_left(
    model: asterism.Translator, album: Path, tmp_path: Path
) -> None:
    refs = [album / "a.png", album / "c.png"]
    draw_grid(model, [album / "a.png", album / "b.png"], tmp_path / "g.png", to=["blue"], styles=[3], like=refs, side=32)
    sheet, step = read(tmp_path / "g.png"), 40
    assert sheet.shape == (3 * step, 4 * step, 3)

    def cell(row: int, column: int, height: int = 32, width: int = 32) -> np.ndarray:
        top, left = row * step + (step - height) // 2, column * step + (step - width) // 2
        return sheet[top : top + height, left : left + width].astype(int)

    assert (sheet[:step, :step] == 255).all()
    np.testing.assert_array_equal(cell(0, 2), read(album / "a.png"))
    np.testing.assert_array_equal(cell(1, 0), read(album / "a.png"))
    for column, look in ((1, {"style": 3}), (2, {"like": refs[0]}), (3, {"like": refs[1]})):
        alone = np.asarray(model.translate(album / "a.png", "blue", **look), dtype=int)
        assert np.abs(cell(1, column) - alone).max() <= 1
    with pytest.raises(FolderError, match="would be replaced"):
        draw_grid(model, [album], tmp_path / "g.png", to=["blue"], styles=[3])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.png"]


def test_a_grid_without_targets_has_a_column_for_every_label(model: asterism.Translator, album: Path, tmp_path: Path) -> None:
    draw_grid(model, [album / "a.png"], tmp_path / "g.png", styles=[1, 2], side=32)
    sheet, step = read(tmp_path / "g.png").astype(int), 40
    columns = [(label, seed) for label in model.labels for seed in (1, 2)]
    assert sheet.shape[1] == (1 + len(columns)) * step
    for k, (label, seed) in enumerate(columns, 1):
        alone = np.asarray(model.translate(album / "a.png", label, style=seed), dtype=int)
        assert np.abs(sheet[-36:-4, k * step + 4 : k * step + 36] - alone).max() <= 1


def test_a_sheet_of_any_length_is_written_without_being_held(tmp_path: Path) -> None:
    """120 MB of rows pass through a few MB of memory, and come out as they were."""
    rng = np.random.default_rng(0)
    bands = [rng.integers(0, 256, (8, 250, 3), np.uint8) for _ in range(3)]
    with png_rows(tmp_path / "small.png", 250) as append:
        for band in bands:
            append(band)
    np.testing.assert_array_equal(read(tmp_path / "small.png"), np.concatenate(bands))
    band = np.zeros((100, 4000, 3), np.uint8)
    tracemalloc.start()
    with png_rows(tmp_path / "long.png", 4000) as append:
        for _ in range(100):
            append(band)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert Image.open(tmp_path / "long.png").size == (4000, 10_000) and peak < 20e6
    with pytest.raises(RuntimeError), png_rows(tmp_path / "half.png", 10) as append:
        append(np.zeros((1, 10, 3), np.uint8))
        raise RuntimeError
    assert not list(tmp_path.glob("*half*"))


def test_drawings_show_the_value_range(tmp_path: Path) -> None:
    """12-bit values in 16-bit files, four channels: grids and sequences show three, from black to white over the range."""
    translator = negative(channels=4, depth=16, high=4095)
    picture = translator.model.picture
    stored = np.full((16, 16, 4), [3071, 2047, 1023, 9], np.uint16)
    write(tmp_path / "in.npy", stored)
    draw_grid(translator, [tmp_path / "in.npy"], tmp_path / "g.png", to=["Male"], side=16)
    sheet = read(tmp_path / "g.png")
    assert sheet[-12, 12].tolist() == [191, 127, 64] and sheet[-12, 36].tolist() == [32, 128, 223]
    for kind, file in (("strip", tmp_path / "s.png"), ("gif", tmp_path / "s.gif")):
        write_sequence(file, iter([stored // 2]), picture, kind, side=16, fps=1, first=stored)
        with Image.open(file) as drawn:
            assert np.asarray(drawn.convert("RGB"))[12, -12].tolist() == [96, 64, 32]
    (frame,) = write_sequence(tmp_path / "frames", iter([stored]), picture, "frames", side=None, fps=1, first=stored)
    np.testing.assert_array_equal(read(frame), stored)


# -- what changes ------------------------------------------------------------------------------------------------------


def test_a_difference_is_the_mean_over_channels_with_the_sign_of_the_mean_change() -> None:
    x, y = torch.zeros(2, 1, 3), torch.tensor([[[0.4, -0.4, 0.4]], [[0.0, 0.0, -0.2]]])
    np.testing.assert_allclose(difference(x, y), [[0.1, -0.1, 0.15]], atol=1e-7)
    opposite = difference(torch.zeros(2, 1, 1), torch.tensor([[[0.5]], [[-0.5]]]))
    assert abs(opposite[0, 0]) == 0.25, "changes that cancel in the mean are shown all the same"


def test_a_heat_map_is_white_where_nothing_changes_and_saturates_at_the_stated_change() -> None:
    colours = heat_map(np.array([[0.0, 0.25, -0.25, 1.0, 0.05, -0.05]]), 0.25)[0].astype(int)
    assert (colours[0] == 255).all() and (colours[1] == colours[3]).all()
    brighter, darker = colours[4], colours[5]
    assert brighter[0] > brighter[2] and darker[2] > darker[0], "red brighter, blue darker"
    assert colours[1].sum() < brighter.sum() < 765, "the larger, the deeper"


@pytest.mark.parametrize(("channels", "depth"), [(3, 8), (1, 16), (5, 8), (3, 16)])
def test_translate_draws_what_changes_beside_each_result(channels: int, depth: int, tmp_path: Path) -> None:
    """The model darkens a bright picture: the map is blue all over, whatever the depth and the channels."""
    dtype = np.uint8 if depth == 8 else np.uint16
    pixels = np.full((16, 16, channels), (2**depth - 1) * 3 // 4, dtype)
    write(tmp_path / "in.npy", pixels)
    summary = translate_folder(
        negative(channels=channels, depth=depth), [tmp_path / "in.npy"], ["Male"], tmp_path / "out", changes=0.5
    )
    result, drawn = summary.written
    assert drawn.name == "in__Male-changes.png" and result.name.startswith("in__Male.")
    sheet = read(drawn).astype(int)
    middle = sheet[128, 256 + 128 + 5]  # In the right panel: the map, enlarged to 256 pixels.
    assert middle[2] > middle[0] + 60
    grey = sheet[128, 128]
    assert grey[0] == grey[1] == grey[2] and abs(grey[0] - 191) <= 1, "the source at the left"


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_blur_of_resampling_is_no_change(fit: str, tmp_path: Path) -> None:
    """A model that changes nothing, and a picture of another size and shape, all edges: the map is white."""
    translator = negative()
    translator.recipe.translate = lambda x, told, **rest: x
    write(tmp_path / "in.png", np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8))
    _, drawn = translate_folder(translator, [tmp_path / "in.png"], ["Male"], tmp_path / "out", fit=fit, changes=0.01).written
    assert (read(drawn)[:300, 300:] == 255).all()


def test_the_scale_must_be_a_share(tmp_path: Path) -> None:
    for wrong in (0.0, 1.5):
        with pytest.raises(ConfigError, match="of the value range"):
            translate_folder(negative(), [tmp_path], ["Male"], tmp_path / "out", changes=wrong)


def test_a_figure_states_its_scale_and_the_largest_change() -> None:
    """What is written changes with the numbers; where it is, pixels are not white."""
    picture = PictureFormat(1, 40, 40, high=65535.0, depth=16)
    stored = np.full((40, 40, 1), 30000, np.uint16)
    change = np.zeros((40, 40), np.float32)
    change[10, 20] = 0.2
    drawn = [np.asarray(figure(stored, change * factor, picture, full)) for factor, full in ((1, 0.25), (0.5, 0.25), (1, 0.1))]
    foot = [sheet[280:] for sheet in drawn]
    assert (foot[0] < 128).any() and not np.array_equal(foot[0], foot[1]) and not np.array_equal(foot[0], foot[2])


# -- masks from folders ------------------------------------------------------------------------------------------------


def test_masks_come_from_a_folder_of_the_same_names(album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = build(masks="given")
    save_model(tmp_path / "m.safetensors", recipe, "stargan_v2", recipe.state_dict(), info={})
    half = np.zeros((33, 47, 1), np.uint8)
    half[:, :23] = 255
    for folder, mask in (("half", half), ("none", 0 * half), ("all", 0 * half + 255)):
        for name in "abc":
            (tmp_path / folder).mkdir(exist_ok=True)
            write(tmp_path / folder / f"{name}.png", mask)

    def made(*masks: str) -> np.ndarray:
        words = ["translate", str(tmp_path / "m.safetensors"), str(album), "--to", "red", "--device", "cpu", "--overwrite"]
        words += [w for m in masks for w in ("--masks", str(tmp_path / m))]
        assert main([*words, "--precision", "float32", "--out", str(tmp_path / "out")]) == 0
        return read(tmp_path / "out" / "c__red.png").astype(int)

    every = {masks: made(*masks) for masks in (("half",), ("none",), ("all",), ("all", "none"))}
    pairs = [(a, b) for a in every for b in every if a < b]
    differ = {pair: np.abs(every[pair[0]] - every[pair[1]]).max() for pair in pairs}
    assert all(most > 0 for pair, most in differ.items() if set(pair) != {("all",), ("all", "none")}), differ
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    given = asterism.load(tmp_path / "m.safetensors", "cpu", "float32", masks=lambda x: (x[:, :1] * 0 + 1,) * 2)
    assert given.translate(x, "red").shape == x.shape
    (tmp_path / "half" / "b.png").unlink()
    words = ["translate", str(tmp_path / "m.safetensors"), str(album), "--to", "red", "--out", str(tmp_path / "new")]
    assert main([*words, "--masks", str(tmp_path / "half")]) == 1 and "half/b.png" in capsys.readouterr().err
    assert main([*words]) == 1 and "translate --masks DIR" in capsys.readouterr().err


def test_a_model_without_skips_takes_no_masks(model: asterism.Translator, album: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="takes no masks"):
        translate_folder(model, [album], ["red"], tmp_path / "out", masks=[album])


@pytest.mark.parametrize("fps", [0, -1, 1e-5, 1e6, float("nan"), float("inf")])
def test_films_have_frames_per_second_that_they_can_hold(fps: float) -> None:
    with pytest.raises(ConfigError, match="frames per second are .*; expected 0.002 to 1,000"):
        check_kind("gif", fps)


def test_the_slowest_gif_is_written(tmp_path: Path) -> None:
    frames = [np.full((4, 4, 3), value, np.uint8) for value in (0, 200)]
    write_sequence(tmp_path / "a.gif", iter(frames), PictureFormat(3, 4, 4), "gif", side=None, fps=SLOWEST, first=frames[0])
    with Image.open(tmp_path / "a.gif") as made:
        assert made.info["duration"] == 500_000
