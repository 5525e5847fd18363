"""Edits by strokes: the objective in literal formulas and against the recorded numbers, and what edits come to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from asterism.config import ConfigError
from asterism.manifold.decoder import of_latents
from asterism.manifold.editing import edit
from asterism.manifold.hog import cells_of, hog
from asterism.manifold.projection import draw_starts, pixel_error, project
from asterism.manifold.search import descend
from asterism.manifold.spaces import Ball, Box, near, slerp
from asterism.manifold.strokes import Wishes, granted, painted, sketched, warped
from tests.manifold.test_projection import generator

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "igan"
recorded = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")


def literal_hog(x: torch.Tensor) -> torch.Tensor:
    """The histograms of one grey picture [H, W] in [0, 1], cell by cell and pixel by pixel."""
    padded = F.pad(x[None, None], (1, 1, 1, 1))[0, 0]
    height, width = x.shape
    gx, gy = torch.zeros_like(x), torch.zeros_like(x)
    for (i, j), (weight_x, weight_y) in {
        (0, 0): (-1, -1), (0, 1): (0, -2), (0, 2): (1, -1), (1, 0): (-2, 0), (1, 2): (2, 0), (2, 0): (-1, 1), (2, 1): (0, 2),
        (2, 2): (1, 1),
    }.items():  # fmt: skip
        part = padded[i : i + height, j : j + width] / 4
        gx, gy = gx + weight_x * part, gy + weight_y * part
    length, a = (gx**2 + gy**2 + 1e-3).sqrt(), math.cos(math.pi / 8)
    votes = [
        (((math.cos(math.pi * i / 8) * gx + math.sin(math.pi * i / 8) * gy).abs() - a * length) / (1 - a)).clamp(min=0)
        for i in range(8)
    ]
    cells = torch.zeros(8, height // 8, width // 8, dtype=x.dtype)
    for i in range(8):
        for r in range(height // 8):
            for c in range(width // 8):
                for k in range(16):
                    for m in range(16):
                        row, column = 8 * r - 4 + k, 8 * c - 4 + m
                        if 0 <= row < height and 0 <= column < width:
                            weight = (1 - abs(k + 1 - 8.5) / 8) * (1 - abs(m + 1 - 8.5) / 8)
                            cells[i, r, c] += weight * votes[i][row, column]
    return cells


def test_histograms_are_the_literal_formula_and_have_gradients() -> None:
    x = torch.rand(1, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(hog(x)[0], literal_hog((x[0].mean(0) + 1) / 2))
    torch.autograd.gradcheck(lambda y: hog(y), x.clone().requires_grad_(), eps=1e-7, atol=1e-5)
    mask = torch.zeros(1, 1, 32, 32)
    mask[0, 0, 3, 3] = 1  # Within 4 pixels of the corner, so that one window alone has it.
    assert cells_of(mask).flatten().nonzero().flatten().tolist() == [0]


@recorded
@pytest.mark.parametrize("case", ["rgb32", "rgb32_d"])
def test_the_published_objective(case: str) -> None:
    golden = {key: t.double() for key, t in load_file(GOLDEN / f"{case}_step.safetensors").items()}
    torch.testing.assert_close(hog(golden["x"]), golden["hog.x"], rtol=0, atol=5e-6)
    mask = golden["user.edge_mask"].permute(2, 0, 1)[None]
    assert torch.equal(cells_of(mask), golden["c.edge_mask_hog"][:1])
    wishes = Wishes(golden["c.color"][:1], golden["c.color_mask"][:1], golden["c.edge"][:1], mask)
    torch.testing.assert_close(granted(golden["opt.gx"], wishes), golden["opt.rec_all"], rtol=2e-6, atol=1e-6)


@recorded
def test_the_published_step_of_adam_and_ways_between_codes() -> None:
    golden = {key: t.double() for key, t in load_file(GOLDEN / "rgb32_step.safetensors").items()}
    before, gradient = golden["opt.z_pre_tanh"], golden["opt.z_grad"]
    steps = descend(lambda u: (gradient * u).sum(1), before)
    next(steps)
    state: list[torch.Tensor] = []

    def linear(u: torch.Tensor) -> torch.Tensor:  # Its gradient is the recorded one; where it is asked next is the step.
        state.append(u.detach())
        return (gradient * u).sum(1)

    steps = descend(linear, before)
    next(steps), next(steps)
    torch.testing.assert_close(state[1], golden["opt.z_after_adam_step"], rtol=1e-5, atol=1e-6)
    a, b = golden["interp.a"], golden["interp.b"]
    for share in (0.0, 0.25, 0.6, 1.0):
        t = torch.full((len(a), 1), share, dtype=torch.float64)
        torch.testing.assert_close(slerp(a, b, t), golden[f"interp.slerp.{share}"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(Box(8).between(a, b, t), golden[f"interp.linear.{share}"], rtol=1e-5, atol=1e-6)


def test_what_strokes_ask_for_is_the_literal_formula() -> None:
    rng = torch.Generator().manual_seed(1)
    y, c = (
        torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=rng),
        torch.rand(1, 3, 16, 16, dtype=torch.float64, generator=rng),
    )
    m = (torch.rand(1, 1, 16, 16, dtype=torch.float64, generator=rng) > 0.6).double()
    colour = ((y - c) ** 2 * m).mean((1, 2, 3)) / (m.mean() + 1e-5)
    torch.testing.assert_close(granted(y, painted(c, m)), colour)
    cells = cells_of(m)
    edges = 0.2 * (cells * (hog(y) - hog(c)) ** 2).mean((1, 2, 3)) / (cells.mean() + 1e-5)
    torch.testing.assert_close(granted(y, sketched(c, m)), edges)
    line = m * 0
    line[:, :, 5:9] = 1
    both = painted(c, m).and_then(sketched(c * line, line))
    torch.testing.assert_close(granted(y, both), colour + granted(y, sketched(c * line, line)))


def test_a_warp_asks_for_the_patch_elsewhere_as_far_as_it_is_in_the_picture() -> None:
    y = torch.arange(64.0).reshape(1, 1, 8, 8) / 32 - 1
    wishes = warped(y, (2, 2), (5, 6), width=3)
    assert torch.equal(wishes.colour[0, 0, 4:7, 5:8], y[0, 0, 1:4, 1:4])
    assert wishes.colour_mask.sum() == 9 and torch.equal(wishes.edge_mask, wishes.colour_mask)
    corner = warped(y, (0, 0), (7, 7), width=3)  # One row and column of it are beyond the corners.
    assert corner.colour_mask.nonzero().tolist() == [[0, 0, 7, 7]] and corner.colour[0, 0, 7, 7] == y[0, 0, 0, 0]
    with pytest.raises(ConfigError, match="a warp goes to row 8, column 0; the model's pictures have 8 x 8 pixels"):
        warped(y, (0, 0), (8, 0))


def test_an_edit_has_what_was_painted_and_stays_near_the_start() -> None:
    decoder = of_latents(generator(), torch.zeros(1, 0))
    rng = torch.Generator().manual_seed(2)
    start, other = torch.randn(2, 6, dtype=torch.float64, generator=rng)
    x, wanted = decoder.decode(torch.stack([start, other]))[:, None]
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    mask[:, :, 4:10, 4:10] = 1
    wishes = painted(wanted, mask)
    (free,) = edit(decoder, wishes, candidates=24, steps=80)
    (near_start,) = edit(decoder, wishes, start, candidates=24, steps=80)
    before = float(granted(x, wishes))
    for found in (free, near_start):
        assert 1 <= len(found.codes) <= 16 and (found.costs.diff() >= 0).all()
        assert (found.costs <= 2 * found.costs[:8].mean() + 1e-9).all()
        assert float(granted(found.pictures[:1], wishes)) < 0.5 * before
    apart = [(found.codes[0] - start).square().mean() for found in (free, near_start)]
    assert apart[1] < apart[0]
    literal = granted(near_start.pictures, wishes) + 5 / 3 * (near_start.codes - start).square().mean(1)
    torch.testing.assert_close(near_start.costs, literal)
    (stiff,) = edit(decoder, wishes, start, candidates=4, steps=80, stay=1e4)
    torch.testing.assert_close(stiff.codes[0], start, rtol=0, atol=0.05)
    # While it goes on, what it has come to is shown, and it gets no worse.
    seen = [float(found.costs[0]) for found in edit(decoder, wishes, start, candidates=4, steps=20, every=5)]
    assert len(seen) == 4 and seen == sorted(seen, reverse=True)


def test_edits_that_are_refused() -> None:
    decoder = of_latents(generator(), torch.zeros(1, 0))
    nothing = Wishes.none(torch.zeros(1, 3, 16, 16, dtype=torch.float64))
    some = painted(nothing.colour, nothing.colour_mask + 1)
    for wishes, arguments, words in (
        (nothing, {}, "at least one stroke"),
        (some, {"candidates": 0}, "at least 1 candidate"),
        (some, {"start": torch.full((6,), 9.0)}, "a code is 22.0 long"),
    ):
        with pytest.raises(ConfigError, match=words):
            next(edit(decoder, wishes, **arguments))  # type: ignore[arg-type]


def test_codes_around_a_code() -> None:
    rng = torch.Generator().manual_seed(3)
    code = torch.randn(200, generator=rng, dtype=torch.float64)
    found = near(Ball(200), code, 50, rng)
    torch.testing.assert_close(found[0], code)
    assert 0.4 < float((found[1:] - code).std()) < 0.6
    assert near(Box(3), torch.ones(3), 9, rng).abs().max() <= 1


def test_a_projection_and_an_edit_go_on_from_each_other() -> None:
    decoder = of_latents(generator(), torch.zeros(1, 0))
    z = torch.randn(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x = decoder.decode(z)
    found = project(decoder, x, draw_starts(decoder, 1, 6, x))
    lighter = painted(torch.ones_like(x), torch.ones_like(x[:, :1]))
    (first,) = edit(decoder, lighter, found.codes[0], candidates=8, steps=30)
    (second,) = edit(decoder, lighter, first.codes[0], candidates=8, steps=30)
    light = [float(y.mean()) for y in (x[0], first.pictures[0], second.pictures[0])]
    assert light[0] < light[1] < light[2] + 1e-6 and pixel_error(found.pictures, x) < 1e-6
