"""Sheets show every picture, in its row and column."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asterism.data.pictures import PictureFormat
from asterism.data.sheets import GAP, grid
from asterism.inference.grid import FONTS, heading
from asterism.inference.sheets import MARGIN, row, thumbnail


def test_a_grid_has_sources_in_rows_and_targets_in_columns() -> None:
    rows = torch.rand(2, 3, 3, 4, 5) * 2 - 1
    sheet = grid(rows)
    assert sheet.shape == (2 * 4 + GAP, 3 * 5 + 2 * GAP, 3) and sheet.dtype == np.uint8
    for r in range(2):
        for k in range(3):
            cell = sheet[r * (4 + GAP) :, k * (5 + GAP) :][:4, :5]
            np.testing.assert_array_equal(cell, ((rows[r, k] + 1) * 127.5).round().permute(1, 2, 0).numpy())
    assert (sheet[4 : 4 + GAP] == 255).all()


def test_a_grid_shows_any_number_of_channels() -> None:
    rows = torch.rand(1, 1, 5, 4, 4) * 6 - 3
    assert [grid(rows[:, :, :c]).shape[2] for c in range(1, 6)] == [1, 1, 3, 3, 3]
    np.testing.assert_array_equal(grid(rows), grid(rows[:, :, :3]))
    assert set(np.unique(grid(rows))) >= {0, 255}, "values beyond [-1, 1] are clipped"


def test_a_row_keeps_shapes_and_colours() -> None:
    wide, grey = np.zeros((50, 200, 3), np.uint8), np.full((90, 30, 1), 40, np.uint8)
    wide[:, :, 0] = 255
    deep = np.full((10, 10, 5), 40 * 257, np.uint16)
    side, step = 60, 60 + 2 * MARGIN
    plain, wider = PictureFormat(3, 16, 16), PictureFormat(5, 16, 16, high=65535.0, depth=16)
    cells = [thumbnail(wide, plain, side), thumbnail(grey, plain, side), thumbnail(deep, wider, side)]
    drawn = row(cells, side)
    assert drawn.shape == (step, 3 * step, 3)
    centres = [drawn[step // 2, step // 2 + k * step].tolist() for k in range(3)]
    assert centres == [[255, 0, 0], [40, 40, 40], [40, 40, 40]]
    assert (drawn[step // 2 - 12, step // 2] == 255).all(), "the wide picture is 15 high, not stretched"
    assert row(cells[:1], side).shape == (15 + 2 * MARGIN, step, 3), "as high as the highest"


@pytest.mark.parametrize("fonts", [FONTS, ()])
def test_letters_beyond_english_are_not_boxes(fonts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asterism.inference.grid.FONTS", fonts)
    assert heading("ä", 64).tobytes() != heading("ö", 64).tobytes()
