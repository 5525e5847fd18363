"""Spaces of codes, the searches, and projection: a generated picture's own code is found again."""

from __future__ import annotations

import math

import pytest
import torch

from asterism.config import ConfigError
from asterism.data.pictures import PictureFormat
from asterism.manifold.decoder import of_latents
from asterism.manifold.projection import draw_starts, feature_error, pixel_error, project
from asterism.manifold.search import adam, lbfgs
from asterism.manifold.spaces import Ball, Box, Styles, along, slerp
from asterism.recipes.dcgan import DCGAN, Config
from tests.helpers.generating import COLOURS


def generator(latent: int = 6) -> DCGAN:
    """A generator of random weights, in float64, whose pictures differ well."""
    torch.manual_seed(0)
    recipe = DCGAN(Config(latent_dim=latent, conv_dim=4, discriminator_conv_dim=4), COLOURS, PictureFormat(3, 16, 16))
    with torch.no_grad():
        for parameter in recipe.generator.parameters():
            parameter.mul_(8)
    return recipe.double().eval().requires_grad_(False)


def test_every_variable_is_a_code_inside_and_every_code_inside_has_one() -> None:
    rng = torch.Generator().manual_seed(0)
    for space in (Ball(5), Box(5), Box(3, 0.0, 1.0), Styles(torch.randn(7, 4, generator=rng))):
        far = 50 * torch.randn(64, space.size, generator=rng, dtype=torch.float64)
        space.check(space.inside(far))
        drawn = space.draw(64, rng).double()
        space.check(drawn)
        torch.testing.assert_close(space.inside(space.outside(drawn)), drawn, rtol=1e-9, atol=1e-9)
    zero = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(Ball(5).inside(zero).sum(), zero)
    assert gradient.isfinite().all() and (gradient > 0.9).all()  # The middle of the ball is no singular point.


def test_codes_that_lie_elsewhere_are_refused() -> None:
    for space, codes, words in (
        (Ball(4), torch.full((1, 4), 4.0), "a code is 8.0 long; this model's latents are about 2.0 long and at most 6.0"),
        (Box(4), torch.full((1, 4), 1.5), "a code has numbers from 1.50 to 1.50; this model takes -1 to 1"),
        (Box(4), torch.zeros(1, 3), r"codes are \[1, 3\]; this model takes \[N, 4\]"),
        (Ball(4), torch.full((1, 4), math.nan), "infinite or not numbers"),
    ):
        with pytest.raises(ConfigError, match=words):
            space.check(codes)


def test_the_way_between_latents_keeps_their_length_where_the_space_is_a_ball() -> None:
    a, b = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    b = b * a.norm() / b.norm()
    lengths = along(Ball(64), a, b, 9).norm(dim=1)
    torch.testing.assert_close(lengths, a.norm().expand(9))
    straight = along(Box(64), a, b, 9)
    torch.testing.assert_close(straight[2], 0.75 * a + 0.25 * b)
    assert straight[4].norm() < 0.8 * a.norm()  # What the spherical way avoids.
    # The literal formula, and where it is not defined.
    angle = math.acos(float(a @ b / (a.norm() * b.norm())))
    literal = math.sin(0.7 * angle) / math.sin(angle) * a + math.sin(0.3 * angle) / math.sin(angle) * b
    torch.testing.assert_close(slerp(a[None], b[None], torch.tensor([[0.3]], dtype=torch.float64))[0], literal)
    torch.testing.assert_close(slerp(a[None], 2 * a[None], torch.tensor([[0.5]]))[0], 1.5 * a)


def rosenbrock(u: torch.Tensor) -> torch.Tensor:
    return ((1 - u[:, :-1]).square() + 100 * (u[:, 1:] - u[:, :-1].square()).square()).sum(1)


def test_lbfgs_finds_the_minimum_of_each_row_whatever_rows_are_beside_it() -> None:
    starts = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = lbfgs(rosenbrock, starts, 300)
    assert (found.value < 1e-8).sum() >= 4  # The function has a second, local minimum in six dimensions.
    good = found.value < 1e-8
    torch.testing.assert_close(found.u[good], torch.ones_like(found.u[good]), rtol=0, atol=1e-3)
    alone = [lbfgs(rosenbrock, row[None], 40).u[0] for row in starts]
    torch.testing.assert_close(lbfgs(rosenbrock, starts, 40).u, torch.stack(alone), rtol=1e-7, atol=1e-7)


def test_a_quadratic_needs_no_more_steps_than_a_few_times_its_size() -> None:
    scales = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    found = lbfgs(lambda u: (scales * (u - 3).square()).sum(1), torch.zeros(2, 4, dtype=torch.float64), 60, tolerance=1e-9)
    torch.testing.assert_close(found.u, torch.full((2, 4), 3.0, dtype=torch.float64), rtol=0, atol=1e-7)
    assert found.evaluations < 60


def test_adam_is_torchs_and_keeps_the_best() -> None:
    start = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    theirs, passed = start.clone().requires_grad_(), []
    optimiser = torch.optim.Adam([theirs], lr=0.1)
    for _ in range(21):
        passed.append(theirs.detach().clone())
        optimiser.zero_grad()
        rosenbrock(theirs).sum().backward()
        optimiser.step()
    values = torch.stack([rosenbrock(u) for u in passed])
    best = values.argmin(0)
    found = adam(rosenbrock, start, 20)
    torch.testing.assert_close(found.u, torch.stack([passed[int(b)][n] for n, b in enumerate(best)]))
    torch.testing.assert_close(found.value, values.amin(0))


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_the_code_of_a_generated_picture_is_found(method: str) -> None:
    recipe = generator()
    decoder = of_latents(recipe, torch.zeros(1, 0))
    z = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    x = decoder.decode(z)
    starts = draw_starts(decoder, 3, 8, z, seed=5)
    found = project(decoder, x, starts, method=method)  # type: ignore[arg-type]
    assert (found.errors < (1e-8 if method == "lbfgs" else 1e-4)).all(), found.errors
    torch.testing.assert_close(found.codes, z, rtol=0, atol=1e-3 if method == "lbfgs" else 0.1)
    torch.testing.assert_close(found.errors, pixel_error(decoder.decode(found.codes), x))
    # Every picture for itself: alone it comes to the same.
    alone = project(decoder, x[1:2], starts[1:2], method=method)  # type: ignore[arg-type]
    torch.testing.assert_close(alone.codes[0], z[1], rtol=0, atol=1e-3 if method == "lbfgs" else 0.1)
    # No step keeps the best of the starts.
    best = project(decoder, x, starts, steps=0)
    torch.testing.assert_close(best.errors, torch.stack([pixel_error(decoder.decode(starts[0]), one[None]).min() for one in x]))


def test_features_draw_the_search_by_their_weight() -> None:
    recipe = generator()
    decoder = of_latents(recipe, torch.zeros(1, 0))
    drawn = decoder.decode(torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(6)))
    x = drawn.mean(0, keepdim=True) + 0.1  # No code has it.
    starts = draw_starts(decoder, 1, 4, x)

    def mean_colour(pictures: torch.Tensor) -> list[torch.Tensor]:
        return [pictures.mean((2, 3))]

    wanted = mean_colour(x)
    apart = []
    for weight in (0.0, 10.0):
        found = project(decoder, x, starts, features=mean_colour, feature_weight=weight)
        apart.append((float(found.errors), float(feature_error(mean_colour, found.pictures, wanted))))
    assert apart[1][0] > apart[0][0] and apart[1][1] < 0.5 * apart[0][1]
    a, b = torch.randn(2, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    literal = ((a - b) ** 2).sum(1) / (b**2).sum(1)
    torch.testing.assert_close(feature_error(lambda y: y, a, [b]), literal)
    for arguments, words in (({"method": "sgd"}, "the method is 'sgd'"), ({"steps": -1}, "steps are -1")):
        with pytest.raises(ConfigError, match=words):
            project(decoder, x, starts, **arguments)
