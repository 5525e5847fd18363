"""Folders in, folders out: one file per picture and target, nothing replaced, nothing half-written, no picture fatal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.data.pictures import read, write
from asterism.inference import folder as folder_module
from asterism.inference import translator as translator_module
from asterism.inference.folder import FolderError, translate_folder
from asterism.inference.images import Picture
from asterism.labels import LabelError
from tests.helpers.negative import FACES, MOODS, asked, inverted, negative


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Five pictures of different sizes and kinds in nested folders, and things that are no pictures."""
    root, rng = tmp_path / "album", np.random.default_rng(0)
    for name, size in (("a.png", (16, 16)), ("sub/b.c.png", (16, 16)), ("sub/d.png", (30, 20)), ("sub/deep/e.webp", (16, 16))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name, lossless=True)
    Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(root / "grey.bmp")
    for stray in (".DS_Store", "notes.txt", ".hidden.png"):
        (root / stray).write_text("not a picture")
    return root


def test_each_picture_and_target_becomes_one_file(album: Path, tmp_path: Path) -> None:
    summary = translate_folder(negative(FACES, MOODS), [album], ["Male", "Blond_Hair,happy"], tmp_path / "out", batch_size=2)
    stems = ["a", "grey", "sub/b.c", "sub/d", "sub/deep/e"]
    wanted = {f"{stem}__{target}.png" for stem in stems for target in ("Male", "Blond_Hair+happy")}
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == wanted and {p.relative_to(tmp_path / "out").as_posix() for p in summary.written} == wanted
    assert summary.skipped == []
    for stem in ("a.png", "sub/b.c.png"):
        result = read(tmp_path / "out" / f"{stem.removesuffix('.png')}__Male.png")
        np.testing.assert_array_equal(result, inverted(read(album / stem)))
    assert read(tmp_path / "out" / "sub/d__Male.png").shape == (30, 20, 3)


def test_broken_pictures_are_reported_and_the_others_go_on(album: Path, tmp_path: Path) -> None:
    (album / "b_half.png").write_bytes((album / "a.png").read_bytes()[:200])
    (album / "z_empty.jpg").write_bytes(b"")
    summary = translate_folder(negative(), [album], ["Male"], tmp_path / "out", batch_size=2)
    assert [path.name for path, _ in summary.skipped] == ["b_half.png", "z_empty.jpg"]
    assert len(summary.written) == 5
    np.testing.assert_array_equal(read(tmp_path / "out/sub/b.c__Male.png"), inverted(read(album / "sub/b.c.png")))
    assert f"left out: {album / 'z_empty.jpg'}: the file is empty" in str(summary)


def test_nothing_is_replaced_without_a_word(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "d__Male.png").write_text("precious")
    translator = negative()
    with pytest.raises(FolderError, match="sub/d__Male.png would be replaced.*--overwrite"):
        translate_folder(translator, [album], ["Male"], out)
    assert translator.recipe.asked == [] and (out / "sub" / "d__Male.png").read_text() == "precious"
    assert len(translate_folder(translator, [album], ["Male"], out, overwrite=True).written) == 5
    assert read(out / "sub" / "d__Male.png").shape == (30, 20, 3)


def test_results_inside_the_input_folder_are_not_read_again(album: Path) -> None:
    for _ in range(2):
        summary = translate_folder(negative(), [album], ["Male"], album / "out", overwrite=True)
        assert len(summary.written) == 5
    with pytest.raises(FolderError, match="both read and written"):
        translate_folder(negative(), [album], ["Male"], album)


def test_two_results_of_one_name_are_refused(album: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="two targets of"):
        translate_folder(negative(), [album], ["Male", "Male=yes"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_result_may_have_a_name_of_its_own(album: Path, tmp_path: Path) -> None:
    source, out = album / "a.png", tmp_path / "new" / "mine.tif"
    assert translate_folder(negative(), [source], ["Male"], out, changes=0.25).written == [
        out,
        out.with_name("mine-changes.png"),
    ]
    np.testing.assert_array_equal(read(out), inverted(read(source)))
    with pytest.raises(FolderError, match="mine.tif would be replaced.*--overwrite"):
        translate_folder(negative(), [source], ["Male"], out)
    for inputs, targets, name in (
        ([album], ["Male"], "x.png"),
        ([source], ["Male", "happy"], "x.JPG"),
        ([source], ["Male"], "x.gif"),
    ):
        with pytest.raises(FolderError, match="looks like a file; --out must be a folder|results are not written as .gif"):
            translate_folder(negative(FACES, MOODS), inputs, targets, tmp_path / name)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("bad", ["gone", "album/notes_only"])
def test_inputs_without_pictures_are_explained(album: Path, tmp_path: Path, bad: str) -> None:
    (album / "notes_only").mkdir()
    (album / "notes_only" / "readme.txt").write_text("")
    with pytest.raises(FolderError, match=bad):
        translate_folder(negative(), [tmp_path / bad], ["Male"], tmp_path / "out")


def test_wrong_words_are_found_before_anything_is_written(album: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="Mail"):
        translate_folder(negative(), [album], ["Male", "Mail"], tmp_path / "out")
    with pytest.raises(LabelError, match="Young"):
        translate_folder(negative(missing=("discriminator",)), [album], ["Male"], tmp_path / "out")
    with pytest.raises(FolderError, match=r"\.gif"):
        translate_folder(negative(), [album], ["Male"], tmp_path / "out", format="gif")
    assert not (tmp_path / "out").exists()


def test_stated_labels_hold_for_every_picture(album: Path, tmp_path: Path) -> None:
    translator = negative(missing=("discriminator",))
    translate_folder(translator, [album], ["Male"], tmp_path / "out", labels="Blond_Hair,Young=no")
    calls = range(len(translator.recipe.asked))  # With more threads than one, a part of the batch each.
    assert [row for call in calls for row in asked(translator, call)] == [[0, 1, 1, 0]] * 5


@pytest.mark.parametrize(("channels", "depth", "suffix"), [(1, 16, ".png"), (3, 16, ".tif"), (5, 8, ".tif")])
def test_the_format_holds_what_the_model_makes(tmp_path: Path, channels: int, depth: int, suffix: str) -> None:
    dtype = np.uint8 if depth == 8 else np.uint16
    pixels = np.random.default_rng(0).integers(0, 2**depth, (16, 16, channels)).astype(dtype)
    write(tmp_path / "in.npy", pixels)
    (path,) = translate_folder(
        negative(channels=channels, depth=depth), [tmp_path / "in.npy"], ["Male"], tmp_path / "out"
    ).written
    result = read(path)
    assert path.name == f"in__Male{suffix}" and result.shape == pixels.shape and result.dtype == dtype
    if suffix == ".tif":
        with pytest.raises(FolderError, match=f"{channels} channels of {depth} bits"):
            translate_folder(negative(channels=channels, depth=depth), [tmp_path / "in.npy"], ["Male"], tmp_path, format=".jpg")


def test_a_full_disk_is_explained_and_leaves_whole_files(album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, array: np.ndarray, source: Path) -> None:
        if path.name.startswith("d"):
            raise OSError(28, "No space left on device")
        write(path, array)

    monkeypatch.setattr(folder_module, "write_kept", fill)
    with pytest.raises(FolderError, match=r"d__Male.png: No space left on device; free some space"):
        translate_folder(negative(), [album], ["Male"], tmp_path / "out", batch_size=1)
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        assert read(path).size


def test_fitting_and_encoding_happen_in_other_threads(album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that runs the model leaves to others what comes before and after it."""
    seen: dict[str, set[str]] = {"fit_in": set(), "to_array": set(), "write_kept": set()}

    def watched(module: Any, name: str) -> Callable[..., Any]:
        work = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            seen[name].add(threading.current_thread().name)
            return work(*arguments, **options)

        return call

    for name in seen:
        module = translator_module if name == "fit_in" else folder_module
        monkeypatch.setattr(module, name, watched(module, name))
    translate_folder(negative(), [album], ["Male"], tmp_path / "out", batch_size=2)
    for name, threads in seen.items():
        assert threads and threading.main_thread().name not in threads, name


@pytest.mark.parametrize("threads, batch_size, parts", [(2, 4, [1, 2, 2]), (3, 2, [1, 1, 1, 1, 1])])
def test_threads_compute_parts_of_a_batch(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, batch_size: int, parts: list[int]
) -> None:
    """Each by itself, with no more pictures at once than were asked for; results keep their order, the process its threads."""
    translator, before, seen = negative(), torch.get_num_threads(), list[tuple[int, int]]()
    whole = translator.batches

    def watched(pictures: Iterable[Picture], *rest: Any, **options: Any) -> Iterator[Any]:
        rows = list(whole(pictures, *rest, **options))
        seen.append((len(rows), torch.get_num_threads()))
        yield from rows

    monkeypatch.setattr(translator, "batches", watched)
    torch.set_num_threads(threads)
    try:
        summary = translate_folder(translator, [album], ["Male"], tmp_path / "out", batch_size=batch_size)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert [path.name for path in summary.written] == [f"{stem}__Male.png" for stem in ("a", "grey", "b.c", "d", "e")]
    np.testing.assert_array_equal(read(tmp_path / "out/sub/b.c__Male.png"), inverted(read(album / "sub/b.c.png")))
    assert after == threads and sorted(seen) == [(part, 1) for part in parts]
