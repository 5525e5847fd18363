"""Edit transfer: motion and colours between pictures, put together along a path, applied at any size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asterism.manifold.transfer import Transfer, along_path, between, conjugate_gradients, energy, recoloured, sampled


def smooth(seed: int, side: int = 32, channels: int = 3) -> torch.Tensor:
    """A picture [C, side, side] with soft shapes."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, side // 4, side // 4, dtype=torch.float64, generator=rng) * 2 - 1
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0].clamp(-1, 1)


def test_a_picture_is_sampled_where_the_motion_says() -> None:
    x = smooth(0)
    motion = torch.zeros(2, 32, 32, dtype=torch.float64)
    motion[0], motion[1] = 3, -2
    torch.testing.assert_close(sampled(x, motion)[:, :29, 2:], x[:, 3:, :30])
    torch.testing.assert_close(sampled(x, 0 * motion), x)


def test_conjugate_gradients_solve_a_system() -> None:
    rng = torch.Generator().manual_seed(1)
    half = torch.randn(8, 8, dtype=torch.float64, generator=rng)
    matrix, right = half @ half.T + torch.eye(8), torch.randn(8, dtype=torch.float64, generator=rng)
    found = conjugate_gradients(lambda x: matrix @ x, right, torch.zeros_like(right), 20)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right))


def test_motion_and_colours_of_a_moved_and_tinted_picture_are_found() -> None:
    a = smooth(2)
    motion = torch.zeros(2, 32, 32, dtype=torch.float64)
    motion[0], motion[1] = 2.5, -1.5
    moved = sampled(a, motion)
    found = between(a, moved)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    assert (found.motion[inner] - motion[inner]).abs().mean() < 0.3
    assert (found.apply(a) - moved)[inner].abs().mean() < 0.1 * (a - moved)[inner].abs().mean()
    assert (found.colours - Transfer.none(a).colours).abs().mean() < 0.1
    tinted = 0.8 * a + 0.15
    found = between(a, tinted)
    assert (found.apply(a) - tinted).abs().mean() < 0.1 * (a - tinted).abs().mean()
    assert found.motion.abs().mean() < 0.2
    # What is found is a minimum along both kinds of change, or close to one.
    best = energy(a, moved, between(a, moved))
    assert best < 0.2 * energy(a, moved, Transfer.none(a))


def test_two_transfers_one_after_the_other_are_one() -> None:
    a = smooth(3)
    first = Transfer(0 * smooth(4)[:2] + 1.0, Transfer.none(a).colours * 0.9)
    second = Transfer(0 * smooth(4)[:2] - 2.0, Transfer.none(a).colours.clone())
    second.colours[:, 3] = 0.1
    one = second.after(first)
    torch.testing.assert_close(one.apply(a)[:, 4:-4, 4:-4], second.apply(first.apply(a))[:, 4:-4, 4:-4])
    torch.testing.assert_close(Transfer.none(a).after(first).motion, first.motion)
    torch.testing.assert_close(recoloured(one.colours, a), 0.9 * a + 0.1)


@pytest.mark.parametrize("size", [(64, 64), (96, 80)])
def test_a_path_of_small_pictures_edits_a_large_one(size: tuple[int, int]) -> None:
    """A disc moves and gets lighter on 32 x 32 pixels; in the large picture, with detail that the small ones lack, too."""

    def scene(across: float, light: float, height: int, width: int, detail: float = 0.0) -> torch.Tensor:
        rows = (torch.arange(height, dtype=torch.float64)[:, None] + 0.5) / height
        columns = (torch.arange(width, dtype=torch.float64)[None] + 0.5) / width
        disc = ((0.25 - ((rows - 0.5) ** 2 + (columns - across) ** 2).sqrt()) * 12).sigmoid()
        grain = detail * torch.sin(80 * rows) * torch.sin(80 * (columns - across)) * disc
        ground = 0.3 * torch.sin(6 * rows + 0 * columns) - 0.3
        return torch.stack([ground + disc * (light - ground) + grain] * 3)

    path = torch.stack([scene(0.4 + 0.02 * t, 0.2 + 0.05 * t, 32, 32) for t in range(6)])
    photo, wanted = scene(0.4, 0.2, *size, 0.1), scene(0.5, 0.45, *size, 0.1)
    made = along_path(path).apply(photo)
    assert made.shape == photo.shape
    assert (made - wanted).abs().mean() < 0.35 * (photo - wanted).abs().mean()
    blurred = F.interpolate(path[-1:], size=size, mode="bilinear", align_corners=False)[0]
    detail = [
        float(((x - F.avg_pool2d(x[None], 5, 1, 2)[0])[:, 20:-20, 20:-20]).square().mean()) for x in (made, wanted, blurred)
    ]
    assert detail[0] > 0.5 * detail[1] > detail[2]  # The grain moved along, where the small picture has none.
