"""OpenFace's tables: intensities become numbers from 0 to 1, and a video's rows find their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from asterism.data.dataset import collect
from asterism.data.listing import DataError
from tests.data.test_label_kinds import config, picture, table

HEADER = " frame, face_id, timestamp, confidence, success, AU01_r, AU12_r, AU12_c"


def video(root: Path, *rows: str, frames: bool = True) -> Path:
    """The table of a video's frames as OpenFace writes it, and the aligned faces."""
    root.mkdir(exist_ok=True)
    path = root / "talk.csv"
    path.write_text("\n".join([HEADER, *(f"{i}, 0, 0.04, 0.98, {row}" for i, row in enumerate(rows, 1))]))
    for i in range(1, len(rows) + 1) if frames else ():
        picture(root / "talk_aligned" / f"frame_det_00_{i:06}.bmp", i)
    return path


def test_intensities_are_scaled_clipped_and_unknown_where_the_face_was_lost(tmp_path: Path) -> None:
    path = video(tmp_path / "v", "1, 2.5, 0.0, 0", "1, 5.2, -0.1, 1", "0, 1.0, 1.0, 0", "1, 0.4, 4, 1")
    (collection,) = collect(config(path))
    (group,) = collection.groups
    assert (group.labels, group.kind, group.low, group.high) == (("AU01", "AU12"), "number", 0, 1)
    assert collection.files == [f"talk_aligned/frame_det_00_{i:06}.bmp" for i in (1, 2, 3, 4)]
    assert collection.labels.tolist() == [pytest.approx(row) for row in ([0.5, 0], [1, 0], [0, 0], [0.08, 0.8])]
    assert collection.known.tolist() == [[True] * 2, [True] * 2, [False] * 2, [True] * 2]


def test_intensities_in_any_table_that_names_its_pictures(tmp_path: Path) -> None:
    (collection,) = collect(config(table(tmp_path, "AU06_r,AU06_c,Smiling", "5,1,1", "1,0,0")))
    assert {group.labels: group.kind for group in collection.groups} == {("Smiling",): "binary", ("AU06",): "number"}
    assert collection.labels.tolist() == [[1, 1], [0, pytest.approx(0.2)]]
    (beside,) = collect(config(table(tmp_path / "cut", "frame,AU06_r", "7,5", "9,1")))
    assert beside.files == ["0.png", "1.png"], "frames that have pictures of their own"
    (named,) = collect(config(tmp_path, labels="Smiling"))
    assert [group.labels for group in named.groups] == [("Smiling",)], "labels that are named are all there are"


def test_a_table_without_the_frames_pictures_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = video(tmp_path / "v", "1, 2.5, 0.0, 0", frames=False)
    with pytest.raises(DataError, match=r"frame_det_00_000001\.bmp\), but none of the pictures is there; expected them in"):
        collect(config(path))


def test_a_number_beyond_its_range_is_refused_with_its_row(tmp_path: Path) -> None:
    """Of a table that is not OpenFace's, whose numbers have the range that is said."""
    path = table(tmp_path, "AU12", "0.4", "1.7")
    with pytest.raises(DataError, match=r"the row of 1\.png: the column 'AU12' holds '1\.7'; expected a number from 0 to 1"):
        collect(config(path, numbers="AU12"))
