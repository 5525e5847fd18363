"""Sheets show every picture, in its row and column."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from asterism.data.sheets import GAP, grid
from asterism.inference.sheets import MARGIN, contact_sheet


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


def test_a_contact_sheet_keeps_shapes_and_colours() -> None:
    wide, grey = Image.new("RGB", (200, 50), "red"), np.full((90, 30), 40, np.uint8)
    deep = np.full((10, 10, 5), 40 * 257, np.uint16)
    side, step = 60, 60 + 2 * MARGIN
    sheet = contact_sheet([[wide, grey], [deep]], side=side)
    assert sheet.size == (2 * step, 2 * step)
    centre = step // 2
    assert [sheet.getpixel((centre + k * step, centre + r * step)) for r, k in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        (255, 0, 0),
        (40, 40, 40),
        (40, 40, 40),
        (255, 255, 255),
    ]
    assert sheet.getpixel((centre, centre - 12)) == (255, 255, 255), "the wide picture is 15 high, not stretched"


def test_a_contact_sheet_has_titles_over_its_columns() -> None:
    picture = np.full((60, 60, 3), 128, np.uint8)
    plain = contact_sheet([[picture, picture]], side=60)
    titled = contact_sheet([[picture, picture]], ["source", "a title far too long for its column"], side=60)
    head = titled.height - plain.height
    strip = np.asarray(titled)[:head]
    step = 60 + 2 * MARGIN
    for k in range(2):
        ink = np.nonzero((strip < 128).any(axis=(0, 2)))[0]
        mine = ink[(ink >= k * step) & (ink < (k + 1) * step)]
        assert len(mine) and k * step <= mine.min() and mine.max() < k * step + step
