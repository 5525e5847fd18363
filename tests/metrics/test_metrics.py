"""Metrics against closed forms on Gaussians, against their literal formulas, and against torchmetrics on the same features.

Everything is float64 but what networks make, so tolerances are 1e-9 unless a line says why they are wider.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from asterism.metrics.alexnet import CHANNELS, AlexNet
from asterism.metrics.kernel import discrepancy, kernel, kernel_distance
from asterism.metrics.moments import Moments, frechet_distance
from asterism.metrics.neighbours import density_coverage, nearest, precision_recall
from asterism.metrics.perceptual import diversity
from asterism.metrics.structure import EQUAL, psnr, ssim
from asterism.metrics.truth import Partners, masked_error, region


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(count: int, mean: list[float], deviation: list[float], seed: int = 0) -> Tensor:
    """Samples whose own mean and covariance are exactly those asked for, so that closed forms hold without sampling error."""
    x = torch.randn(count, len(mean), dtype=torch.float64, generator=rng(seed))
    x = x - x.mean(0)
    root = torch.linalg.cholesky(x.T @ x / (count - 1))
    white = torch.linalg.solve_triangular(root, x.T, upper=False).T
    return white * torch.tensor(deviation, dtype=torch.float64) + torch.tensor(mean, dtype=torch.float64)


def moments(x: Tensor, batch: int = 7) -> Moments:
    result = Moments(x.shape[1])
    for part in x.split(batch):
        result.add(part)
    return result


class Same(nn.Module):
    """What torchmetrics takes for a feature extractor: features come in as pictures [N, D, 1, 1]."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.num_features = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_fid_of_gaussians_is_the_closed_form() -> None:
    """|difference of means|^2 + sum of squared differences of deviations, where covariances are diagonal."""
    a = gaussian(60, [0, 1, -2], [1, 2, 0.5])
    b = gaussian(45, [1, 1, 2], [2, 2, 3], seed=1)
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(17 + 1 + 0 + 6.25, abs=1e-9)
    assert frechet_distance(moments(a), moments(a)) == pytest.approx(0, abs=1e-9)


def test_fid_does_not_depend_on_how_features_arrive_and_needs_two_pictures() -> None:
    a, b = gaussian(60, [0, 1], [1, 2]), gaussian(45, [1, 1], [2, 2], seed=1)
    found = [frechet_distance(moments(a, batch), moments(b, batch)) for batch in (1, 16, 100)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-12)
    assert frechet_distance(moments(a[:1]), moments(b)) is None
    few = frechet_distance(moments(a[:2]), moments(b))  # A singular covariance.
    assert few is not None and math.isfinite(few) and few > 0


def test_fid_is_that_of_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image.fid")
    a, b = torch.randn(80, 6, generator=rng()), torch.randn(70, 6, generator=rng(1)) * 1.5 + 0.3
    metric = image.FrechetInceptionDistance(feature=Same(6)).set_dtype(torch.float64)
    metric.update(a.double()[:, :, None, None], real=True)
    metric.update(b.double()[:, :, None, None], real=False)
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(float(metric.compute()), rel=1e-6)  # It sums in float32.


def test_kid_of_gaussians_is_the_closed_form() -> None:
    """In one dimension (x y + 1)^3 compares the first three moments, with weights 3, 3, 1."""
    n = 4000
    x, y = (
        torch.randn(n, 1, generator=rng(), dtype=torch.float64),
        torch.randn(n, 1, generator=rng(1), dtype=torch.float64) + 0.5,
    )
    exact = 3 * 0.5**2 + 3 * (0.5**2) ** 2 + (0.5**3 + 3 * 0.5) ** 2
    found = discrepancy(kernel(x, x), kernel(y, y), kernel(x, y))
    assert float(found) == pytest.approx(exact, rel=0.1)  # 4,000 samples: the sixth moments' error is about 5 %.
    same = torch.randn(n, 1, generator=rng(2), dtype=torch.float64)
    assert abs(float(discrepancy(kernel(x, x), kernel(same, same), kernel(x, same)))) < 0.05


def test_kid_is_that_of_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image.kid")
    a, b = torch.randn(40, 6, generator=rng()), torch.randn(40, 6, generator=rng(1)) * 1.2 + 0.3
    metric = image.KernelInceptionDistance(feature=Same(6), subsets=1, subset_size=40)
    metric.update(a[:, :, None, None], real=True)
    metric.update(b[:, :, None, None], real=False)
    theirs, _ = metric.compute()
    assert float(discrepancy(kernel(a, a), kernel(b, b), kernel(a, b))) == pytest.approx(float(theirs), rel=1e-4)  # In float32.


def test_kid_has_a_spread_and_needs_four_pictures() -> None:
    a, b = torch.randn(50, 4, generator=rng()), torch.randn(60, 4, generator=rng(1)) + 1
    mean, spread = kernel_distance(a, b, subsets=20, size=500, rng=rng())
    whole = float(discrepancy(kernel(a, a), kernel(b[:50], b[:50]), kernel(a, b[:50])))
    assert mean == pytest.approx(whole, rel=0.5) and spread is not None and 0 < spread < whole
    assert kernel_distance(a[:3], b, subsets=20, size=500, rng=rng()) == (None, None)


def literal_balls(real: Tensor, fake: Tensor, k: int) -> Tensor:
    """inside[i, j]: generated picture j is no farther from real picture i than i's k-th nearest other."""
    inside = torch.zeros(len(real), len(fake), dtype=torch.bool)
    for i, centre in enumerate(real):
        others = sorted(float((centre - other).norm()) for m, other in enumerate(real) if m != i)
        for j, point in enumerate(fake):
            inside[i, j] = float((centre - point).norm()) <= others[k - 1]
    return inside


def test_precision_recall_density_and_coverage_are_their_formulas() -> None:
    real, fake = torch.randn(40, 3, generator=rng()).double(), (torch.randn(30, 3, generator=rng(1)) * 0.6 + 0.5).double()
    precision, recall = precision_recall(real, fake)
    assert precision == pytest.approx(float(literal_balls(real, fake, 3).any(0).double().mean()))
    assert recall == pytest.approx(float(literal_balls(fake, real, 3).any(0).double().mean()))
    density, coverage = density_coverage(real, fake)
    inside = literal_balls(real, fake, 5)
    assert density == pytest.approx(float(inside.sum()) / (5 * 30)) and coverage == pytest.approx(
        float(inside.any(1).double().mean())
    )


def test_precision_and_recall_tell_bad_pictures_from_missing_ones() -> None:
    left, right = torch.randn(50, 2, generator=rng()), torch.randn(50, 2, generator=rng(1)) + 100
    both = torch.cat([left, right])
    assert precision_recall(both, left) == (1.0, 0.5), "half of the real ones are missing"
    assert precision_recall(left, both) == (0.5, 1.0), "half of the generated ones are bad"
    assert precision_recall(left, right) == (0.0, 0.0) and density_coverage(left, right) == (0.0, 0.0)
    assert density_coverage(both, both)[1] == 1.0
    assert precision_recall(left[:3], right) == (None, None), "three pictures have no third neighbour"


def test_the_nearest_of_equal_features_is_the_picture_itself() -> None:
    x = torch.randn(20, 5, generator=rng()) * 100
    assert nearest(x, x).tolist() == list(range(20))


def pictures(count: int = 3, channels: int = 3, size: int = 24) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, channels, size, size, generator=rng()) * 2 - 1
    return x, (x + 0.3 * torch.randn(x.shape, generator=rng(1))).clamp(-1, 1)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_psnr_and_ssim_are_those_of_torchmetrics(channels: int) -> None:
    theirs = pytest.importorskip("torchmetrics.functional.image")
    x, y = (t.double() for t in pictures(channels=channels))
    for i, (p, s) in enumerate(zip(psnr(x, y), ssim(x, y), strict=True)):
        one = x[i : i + 1], y[i : i + 1]
        assert float(p) == pytest.approx(float(theirs.peak_signal_noise_ratio(*one, data_range=2.0)), rel=1e-6)
        # Theirs adds windows that reach over the edge, into reflections; Wang's and ours lie within the picture.
        _, windows = theirs.structural_similarity_index_measure(*one, data_range=2.0, return_full_image=True)
        assert float(s) == pytest.approx(float(windows[..., 5:-5, 5:-5].mean()), rel=1e-6)


def test_psnr_of_a_known_error_and_of_none() -> None:
    x = torch.zeros(2, 3, 16, 16)
    y = x.clone()
    y[0] += 0.2
    assert psnr(x, y).tolist() == pytest.approx([20.0, EQUAL], abs=1e-6)  # 10 log10(4 / 0.04), 0.2 rounded to float32.
    assert float(ssim(x, x)[0]) == pytest.approx(1)
    assert ssim(*pictures(size=8)).shape == (3,), "pictures smaller than the window have a smaller one"


def literal_lpips(network: AlexNet, weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """LPIPS as its paper has it: AlexNet layer by layer, 1 x 1 convolutions, mean over positions, sum over layers."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    state = network.state_dict()
    total = torch.zeros(len(x), dtype=x.dtype)
    a, b = (((t.permute(0, 2, 3, 1) - shift) / scale).permute(0, 3, 1, 2) for t in (x, y))
    settings = {0: (4, 2, False), 3: (1, 2, True), 6: (1, 1, True), 8: (1, 1, False), 10: (1, 1, False)}
    for weight, (layer, (stride, padding, pooled)) in zip(weights, settings.items(), strict=True):
        parts = []
        for t in (a, b):
            t = functional.max_pool2d(t, 3, 2) if pooled else t
            kernels, bias = state[f"features.{layer}.weight"], state[f"features.{layer}.bias"]
            parts.append(functional.conv2d(t, kernels, bias, stride, padding).clamp(min=0))
        a, b = parts
        difference = a / (a**2).sum(1, keepdim=True).add(1e-10).sqrt() - b / (b**2).sum(1, keepdim=True).add(1e-10).sqrt()
        total += functional.conv2d(difference**2, weight[None, :, None, None]).mean((1, 2, 3))
    return total


def test_lpips_is_its_literal_formula_on_random_weights() -> None:
    torch.manual_seed(0)
    network = AlexNet().eval().requires_grad_(False).double()
    weights = [torch.rand(c, generator=rng(c)).double() for c in CHANNELS]
    x, y = (t.double() for t in pictures(size=64))
    ours = diversity(torch.stack([x, y], 1), network, weights)
    torch.testing.assert_close(ours, literal_lpips(network, weights, x, y), rtol=1e-6, atol=0)
    assert [f.shape[1] for f in network(x)] == list(CHANNELS)


def test_diversity_is_the_mean_over_all_pairs_of_outputs() -> None:
    torch.manual_seed(0)
    network = AlexNet().eval().requires_grad_(False).double()
    weights = [torch.rand(c, generator=rng(c)).double() for c in CHANNELS]
    x = (torch.rand(2, 10, 3, 48, 48, generator=rng()) * 2 - 1).double()
    found = [literal_lpips(network, weights, x[:, i], x[:, j]) for i in range(10) for j in range(i + 1, 10)]
    assert len(found) == 45
    torch.testing.assert_close(diversity(x, network, weights), torch.stack(found).mean(0), rtol=1e-6, atol=0)
    # Equal pictures of a batch: a kernel may round some of them apart, by 1e-16 of a feature, and the distance is its square.
    assert float(diversity(x[:, :1].expand(-1, 10, -1, -1, -1), network, weights).abs().max()) < 1e-28


def test_errors_are_told_apart_inside_and_outside_the_region_that_should_change() -> None:
    x = torch.zeros(2, 3, 8, 8)
    truth = x.clone()
    truth[0, 1, :4] = 1.0  # The upper half of the first picture changes, in one channel; of the second nothing.
    truth[:, :, 7] += 0.05  # What compression leaves.
    mask = region(x, truth, 0.05)
    assert mask[0, 0, :4].all() and int(mask.sum()) == 32
    assert masked_error(x, truth, mask)[0] == pytest.approx(1 / 3 / 2) and masked_error(truth, truth, mask)[0] == 0
    assert masked_error(x, truth, ~mask)[0] == pytest.approx(0.05 / 2 / 4) and masked_error(x, truth, mask)[1].isnan()


def test_a_picture_of_nothing_named_has_no_partner() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    partners = Partners(["", "", "a", "a"], labels)
    assert partners.find([0, 1, 2, 3], 1 - labels) == [None, None, 3, 2]
    assert Partners(None, labels).find([0, 2], 1 - labels[:2]) == [None, None]
