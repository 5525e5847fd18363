"""Arithmetic written for speed equals the plain operations: in float64 to rounding, gradients included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from asterism.data.pictures import PictureFormat
from asterism.engine.optimizers import Optimizers
from asterism.networks.batch_norm import BatchNorm2d
from asterism.networks.cpu import convolution, normalization, winograd
from asterism.networks.cpu.convolution import convolve, transpose
from asterism.networks.cpu.normalization import InstanceNorm2d, instance_norm, outputs_made_again
from asterism.networks.cpu.resampling import DoublingConv2d
from asterism.networks.halving import HalvingConv2d
from asterism.networks.reflection import ReflectedConv2d
from asterism.networks.resnet import BasicBlock
from asterism.networks.sizes import SizeError
from asterism.networks.stargan import Discriminator, Generator
from asterism.networks.stargan_v2 import of_domain
from asterism.networks.transposed import ConvTranspose2d
from asterism.recipes import JUDGES, RECIPES
from tests.helpers.recipes import SIZE, SPACES, some_space, tiny

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def numbers(*shape: int, layout: torch.memory_format = torch.contiguous_format, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (x.contiguous(memory_format=layout) if x.ndim == 4 else x).requires_grad_()


def agree(mine: torch.Tensor, plain: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    """Values, gradients, and the gradients of a function of the gradients are equal."""
    torch.testing.assert_close(mine, plain, rtol=1e-11, atol=1e-11)
    sides = []
    for y in (mine, plain):
        first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), inputs)
        sides.append((*first, *second))
    for a, b in zip(*sides, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13 * float(b.detach().abs().max()) + 1e-11)


# Input side, inputs, outputs, kernel, stride, padding; what is chosen: (forward and transpose, gradient of the weights).
SHAPES = [
    (4, 3, 5, 4, 2, 1, True, True),
    (2, 3, 5, 4, 2, 1, True, True),
    (5, 3, 5, 4, 2, 1, True, True),  # Floor division drops a row.
    (8, 512, 2, 4, 2, 1, True, True),
    (16, 3, 5, 4, 2, 1, False, True),
    (17, 3, 5, 4, 2, 1, False, True),
    (32, 3, 5, 4, 2, 1, False, False),
    (4, 3, 5, 3, 1, 1, False, True),
    (4, 3, 5, 4, 1, 0, True, True),
    (8, 3, 5, 3, 1, 1, False, False),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("side", "inputs", "outputs", "kernel", "stride", "padding", "product", "weights"), SHAPES)
def test_convolutions_of_small_maps_equal_the_librarys(
    side, inputs, outputs, kernel, stride, padding, product, weights, layout, monkeypatch
):
    taken = set()
    for name in ("_matrix", "weight_gradient"):
        real = getattr(convolution, name)
        monkeypatch.setattr(convolution, name, lambda *a, real=real, name=name: taken.add(name) or real(*a))
    x = numbers(2, inputs, side, side, layout=layout)
    w = numbers(outputs, inputs, kernel, kernel, layout=layout, seed=1)
    b = numbers(outputs, seed=2)
    y = convolve(x, w, b, stride, padding)
    agree(y, F.conv2d(x, w, b, stride, padding), [x, w, b])
    assert taken == ({"_matrix"} if product else set()) | ({"weight_gradient"} if weights else set())
    g = numbers(*y.shape, layout=layout, seed=3)
    odd = side + 2 * padding - kernel - (y.shape[2] - 1) * stride
    agree(transpose(g, w, (side, side), stride, padding), F.conv_transpose2d(g, w, None, stride, padding, odd), [g, w])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"), [((2, 3), (2, 3), 1, 0), ((5, 4), (3, 2), 2, 1), ((9, 8), (3, 4), 1, 1)]
)
def test_kernels_need_not_be_square(side, kernel, stride, padding, layout):
    x, w, b = numbers(2, 3, *side, layout=layout), numbers(6, 3, *kernel, layout=layout, seed=1), numbers(6, seed=2)
    y = convolve(x, w, b, stride, padding)
    agree(y, F.conv2d(x, w, b, stride, padding), [x, w, b])
    g = numbers(*y.shape, layout=layout, seed=3)
    (plain,) = torch.autograd.grad(F.conv2d(x, w, None, stride, padding), x, g, create_graph=True)
    agree(transpose(g, w, side, stride, padding), plain, [g, w])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [(7, 7), (6, 5)])
def test_a_wide_kernel_to_few_channels_equals_the_librarys(kernel, layout):
    x, w, b = numbers(2, 5, 12, 9, layout=layout), numbers(3, 5, *kernel, layout=layout, seed=1), numbers(3, seed=2)
    agree(convolve(x, w, b, 1, 3), F.conv2d(x, w, b, padding=3), [x, w, b])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tiles", [1, 2, 1000])
@pytest.mark.parametrize("padding", [0, 1])
def test_fewer_multiplications_make_the_same_convolution(padding, layout, tiles, monkeypatch):
    taken = []

    def pays(x: torch.Tensor, shape: tuple[int, ...], stride: int, padding: int, transposed: bool = False) -> bool:
        taken.append(shape)
        return all((side if transposed else side - 2 + 2 * padding) % winograd.TILE == 0 for side in x.shape[2:])

    monkeypatch.setattr(winograd, "pays", pays)
    monkeypatch.setattr(winograd, "BLOCK", tiles * 5)
    side = (14 - 2 * padding, 10 - 2 * padding)
    x, w, b = numbers(3, 5, *side, layout=layout), numbers(4, 5, 3, 3, layout=layout, seed=1), numbers(4, seed=2)
    agree(convolve(x, w, b, 1, padding), F.conv2d(x, w, b, padding=padding), [x, w, b])
    assert convolve(x, w, None, 1, padding).is_contiguous(memory_format=torch.channels_last)
    once = [torch.autograd.grad(c(x, w, b, 1, padding).square().sum(), [x, w, b]) for c in (convolve, F.conv2d)]
    for mine, plain in zip(*once, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)
    g = numbers(3, 4, 12, 8, layout=layout, seed=3)
    agree(transpose(g, w, side, 1, padding), F.conv_transpose2d(g, w, padding=padding), [g, w])
    assert taken


def test_fewer_multiplications_are_taken_in_float32_alone(monkeypatch):
    """And their rounding stays a few times that of direct sums, forward and backward: 2.4e-6 of the result's length on one
    processor. Roundings are independent and many, so that with fused multiplications or without, and in any order of
    summation, the length of their sum is nearly the same.
    """
    taken = []
    real = winograd.outputs
    monkeypatch.setattr(winograd, "outputs", lambda *a: taken.append(1) or real(*a))
    x, w = numbers(4, 256, 32, 32, layout=torch.channels_last), numbers(128, 256, 3, 3, layout=torch.channels_last, seed=1)
    exact = F.conv2d(x, w, padding=1)
    g = numbers(*exact.shape, layout=torch.channels_last, seed=2)
    narrow = [t.detach().float().requires_grad_() for t in (x, w)]
    y = convolve(*narrow, padding=1)
    assert len(taken) == 1
    expected = [exact, *torch.autograd.grad(exact, [x, w], g)]
    for mine, truth in zip([y, *torch.autograd.grad(y, narrow, g.float())], expected, strict=True):
        assert (mine - truth).norm() < 5e-6 * truth.norm()
    with torch.autocast("cpu", torch.bfloat16):
        convolve(*narrow, padding=1)
    convolve(x, w, padding=1)
    convolve(narrow[0][:1, :, :16], narrow[1], padding=1)  # Too few pixels.
    assert len(taken) == 2, "the one above, and the gradient of its input"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", [2, 6, 16])
def test_resampling_folded_into_convolutions_is_exact(side, layout):
    x = numbers(2, 3, side, side, layout=layout)
    for kind, plain in ((HalvingConv2d, halve), (DoublingConv2d, double)):
        layer = kind(3, 5).double().to(memory_format=layout)
        y = layer(x)
        agree(y, plain(x, layer), [x, layer.weight, layer.bias])
        if kind is HalvingConv2d:
            g = numbers(*y.shape, layout=layout, seed=1)
            (gradient,) = torch.autograd.grad(plain(x, layer), x, g, create_graph=True)
            agree(layer.transpose(g, (side, side)), gradient, [g, layer.weight])


def halve(x: torch.Tensor, layer: torch.nn.Conv2d) -> torch.Tensor:
    return F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2)


def double(x: torch.Tensor, layer: torch.nn.Conv2d) -> torch.Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, layer.bias, padding=1)


@pytest.mark.parametrize("slope", [None, 0.0, 0.2])
@pytest.mark.parametrize("own", [False, True])
def test_instance_norm_with_its_activation_equals_the_plain_form(slope, own, monkeypatch):
    x = numbers(3, 4, 6, 5, layout=torch.channels_last)
    shape = (3, 4) if own else (4,)
    w, b = numbers(*shape, seed=1), numbers(*shape, seed=2)
    mine = instance_norm(x, w, b, slope)
    assert mine.is_contiguous(memory_format=torch.channels_last)
    assert "Norm" in type(mine.grad_fn).__name__
    monkeypatch.setattr(normalization.handwritten, "applies", lambda x: False)
    plain = instance_norm(x, w, b, slope)
    torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)
    for a, b_ in zip(*(torch.autograd.grad(y.pow(3).sum(), [x, w, b]) for y in (mine, plain)), strict=True):
        torch.testing.assert_close(a, b_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("slope", [None, 0.0, 0.2])
def test_instance_norm_without_scale_and_shift_equals_the_librarys(slope):
    x = numbers(3, 5, 6, 4, layout=torch.channels_last)
    layer = InstanceNorm2d(5, slope, affine=False)
    assert not layer.state_dict()
    plain = F.instance_norm(x)
    plain = plain if slope is None else F.leaky_relu(plain, slope)
    mine = layer(x)
    assert "_Norm" in type(mine.grad_fn).__name__
    torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)
    (a,), (b,) = (torch.autograd.grad(y.pow(3).sum(), [x]) for y in (mine, plain))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_norms_output_is_not_kept_and_gives_the_same_gradients_bit_for_bit():
    generator = Generator(3, 2, width=8, blocks=2).to(memory_format=torch.channels_last)
    x, c = numbers(2, 3, 32, 32, layout=torch.channels_last).float(), torch.eye(2)
    kept: dict[bool, int] = {}
    gradients = []
    for again in (False, True):
        held: dict[int, int] = {}

        def note(tensor, held=held):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with outputs_made_again(note) if again else saved_tensors_hooks(note, lambda tensor: tensor):
            y = generator(x, c)
        kept[again] = sum(held.values()) - sum(p.nbytes for p in generator.parameters())
        gradients.append(torch.autograd.grad(y.square().sum(), list(generator.parameters())))
    assert kept[True] < 0.7 * kept[False]
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_maps_keep_the_channels_last_layout(network):
    """A layer that leaves it makes the next one copy: forward, and backward (the gradient that a layer hands down)."""
    g, d = Generator(3, 2, width=8, blocks=1), Discriminator(3, 2, (32, 32), width=8, layers=4)
    module = (g if network == "generator" else d).to(memory_format=torch.channels_last)
    seen, left = [], []

    def look(map: torch.Tensor, name: str) -> None:
        seen.append(name)
        if not map.is_contiguous(memory_format=torch.channels_last):
            left.append(name)

    def watch(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if output.ndim == 4 and output.shape[2] > 2 and output.shape[1] > 1:
            look(output, f"{layer}")
            if not isinstance(layer, torch.nn.Identity):
                output.register_hook(lambda grad: look(grad, f"gradient of {layer}"))

    for layer in module.main.modules():
        if not list(layer.children()):
            layer.register_forward_hook(watch)
    x = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = g(x, torch.ones(2, 2)) if network == "generator" else torch.cat(d(x), 1)
    y.square().sum().backward()
    assert not left and sum(name.startswith("gradient") for name in seen) >= 5


@pytest.mark.parametrize("name", sorted(RECIPES | JUDGES))
def test_no_one_by_one_convolution_skips_pixels(name):
    """Gradients of such kernels write past a buffer in oneDNN where channels are few (uxlfoundation/oneDNN#6035)."""
    maps = PictureFormat(1, SIZE, SIZE, classes=4) if name == "pixel_classifier" else None  # It judges label maps alone.
    kinds = (torch.nn.Conv1d, torch.nn.Conv2d)
    layers = [m for m in tiny(name, some_space(name, "joint"), source=maps).modules() if isinstance(m, kinds)]
    assert len(layers) > 2
    assert not [layer for layer in layers if set(layer.kernel_size) == {1} != set(layer.stride)]


def test_a_shortcut_that_halves_is_the_papers_convolution():
    block, x = BasicBlock(3, 5, 2).double().eval(), numbers(2, 3, 9, 8, layout=torch.channels_last)
    mine = []
    block.shortcut.register_forward_hook(lambda module, given, made: mine.append(made))
    block(x)
    convolution_, norm = block.shortcut
    torch.testing.assert_close(mine[0], norm(F.conv2d(x, convolution_.weight, stride=2)), rtol=1e-12, atol=1e-12)


def test_the_optimiser_steps_alike_in_every_layout():
    """Weights, moments and gradients of any layout; a checkpoint of one layout goes on in another."""
    ends = []
    for first, second in [(a, b) for a in LAYOUTS for b in LAYOUTS]:
        recipe = tiny("stargan", SPACES["table"]).to(torch.float64, memory_format=first)
        before = Optimizers(recipe, torch.device("cpu"))
        take_steps(recipe, before, LAYOUTS)
        state = before.state_dict()
        recipe.to(memory_format=second)
        after = Optimizers(recipe, torch.device("cpu"))
        after.load_state_dict(state)
        take_steps(recipe, after, LAYOUTS[::-1])
        ends.append(torch.cat([p.detach().contiguous().flatten() for p in recipe.parameters()]))
    for end in ends:  # The kernel's vectors and their remainder round differently.
        torch.testing.assert_close(end, ends[0], rtol=0, atol=1e-12)


def take_steps(recipe: torch.nn.Module, optimizers: Optimizers, layouts: list[torch.memory_format]) -> None:
    """A step of every network for each layout of the gradients."""
    for layout in layouts:
        rng = torch.Generator().manual_seed(0)
        for parameter in recipe.parameters():
            gradient = torch.randn(parameter.shape, dtype=parameter.dtype, generator=rng) + parameter.detach().contiguous()
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
            if gradient.ndim == 4 and parameter.is_contiguous(memory_format=layout):
                parameter.grad = gradient.contiguous(memory_format=layout)
        optimizers.step(tuple(recipe.networks))


def test_gradients_of_heads_are_the_same_in_every_run():
    """Samples of one domain add to the gradient of one head: in an order of their own, not in that of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        heads, y = [torch.nn.Linear(256, 512) for _ in range(2)], torch.zeros(8, dtype=torch.long)
        made = of_domain(torch.randn(8, 256), heads, y)
        g = torch.randn_like(made)
        first, *others = (torch.autograd.grad(made, heads[0].weight, g, retain_graph=True)[0] for _ in range(20))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first, other) for other in others)


def test_casts_of_weights_follow_the_weights():
    """The cast kept of a small map's weight is made anew after a step, and gradients reach the weight through it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        recipe = tiny("stargan", SPACES["table"]).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    optimizers, weight = Optimizers(recipe, torch.device("cpu")), recipe.discriminator.main[-2].weight
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            patches = recipe.discriminator(x)[0].float()
            penalty = recipe.discriminator.score_gradient(x).float().square().sum()
        exact = recipe.discriminator(x)[0]
        # Six of bfloat16's roundings, each at most 2^-8 of a value, by four layers; a stale cast is off by the whole.
        torch.testing.assert_close(patches, exact, rtol=0, atol=3e-2 * float(exact.detach().abs().max()))
        (patches.sum() + penalty).backward()
        assert weight.grad.dtype == torch.float32 and weight.grad.abs().sum() > 0
        with torch.no_grad():
            weight.grad.mul_(1e6)
        optimizers.set_rates(1e3)  # Far enough for a stale cast to show.
        optimizers.step(("discriminator",))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "outputs"), [(3, 6), (7, 6), (7, 3)])
def test_reflected_convolutions_are_a_reflection_and_a_convolution(kernel, outputs, layout):
    layer = ReflectedConv2d(5, outputs, kernel).double()
    x = numbers(2, 5, 12, 9, layout=layout)
    plain = F.conv2d(F.pad(x, (kernel // 2,) * 4, mode="reflect"), layer.weight, layer.bias)
    agree(layer(x), plain, [x, layer.weight, layer.bias])


def test_reflected_convolutions_take_fewer_multiplications_in_float32(monkeypatch):
    """Of maps that are no whole number of tiles in the backward pass; rounding as in the zero-padded ones."""
    taken = []
    real = winograd.outputs
    monkeypatch.setattr(winograd, "outputs", lambda *a: taken.append(1) or real(*a))
    layer = ReflectedConv2d(128, 128, 3).to(memory_format=torch.channels_last)
    x = numbers(2, 128, 24, 24, layout=torch.channels_last).detach().float().requires_grad_()
    exact = layer.weight.detach().double().requires_grad_()
    wide = x.detach().double().requires_grad_()
    y, plain = layer(x), F.conv2d(F.pad(wide, (1,) * 4, mode="reflect"), exact, layer.bias.detach().double())
    g = numbers(*plain.shape, seed=2).detach()
    found = [y, *torch.autograd.grad(y, [x, layer.weight], g.float())]
    assert len(taken) == 2
    for mine, truth in zip(found, [plain, *torch.autograd.grad(plain, [wide, exact], g)], strict=True):
        assert float(((mine.double() - truth).norm() / truth.norm()).detach()) < 2e-5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("side", "kernel", "padding", "odd"), [(1, 4, 1, 0), (2, 4, 1, 0), (8, 3, 1, 1), (9, 4, 1, 0)])
def test_transposed_convolutions_equal_the_librarys(side, kernel, padding, odd, layout):
    layer = ConvTranspose2d(6, 5, kernel, 2, padding, output_padding=odd).double()
    x = numbers(3, 6, side, side, layout=layout)
    plain = F.conv_transpose2d(x, layer.weight, layer.bias, 2, padding, odd)
    agree(layer(x), plain, [x, layer.weight, layer.bias])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 2, 1), (4, 1, 1), (1, 1, 0)])
def test_gradients_of_weights_by_products_equal_the_librarys(kernel, stride, padding, layout, monkeypatch):
    """In float32, on processors where it is faster; here on all, and in blocks of a few rows."""
    monkeypatch.setattr(convolution, "NARROW", True)
    monkeypatch.setattr(convolution, "BLOCK", 20_000)
    x, w = numbers(2, 6, 31, 24, layout=layout), numbers(8, 6, kernel, kernel, layout=layout, seed=1)
    exact = F.conv2d(x, w, None, stride, padding)
    g = numbers(*exact.shape, seed=2).detach()
    narrow = [t.detach().float().requires_grad_() for t in (x, w)]
    y = convolve(*narrow, None, stride, padding)
    assert y.grad_fn.name() == "_ConvolutionBackward"
    for mine, truth in zip(torch.autograd.grad(y, narrow, g.float()), torch.autograd.grad(exact, [x, w], g), strict=True):
        assert float((mine.double() - truth).norm() / truth.norm()) < 1e-5


@pytest.mark.parametrize("count", [1, 2])
def test_instance_norm_of_one_picture_takes_a_gradient_in_another_layout(count):
    """PyTorch 2.13 misreads that of a single picture; a convolution by a channels-last kernel hands such gradients on."""
    x = numbers(count, 6, 4, 4)
    g = numbers(count, 6, 4, 4, seed=1).detach()
    y = normalization.instance_norm(x, None, None)
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    (exact,) = torch.autograd.grad((x - mean) / (var + normalization.EPSILON).sqrt(), x, g)
    (mine,) = torch.autograd.grad(y, x, g.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(mine, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("count", "taken"), [(2, True), (3, False)])
def test_with_matrix_units_gradients_of_few_larger_maps_are_products_too(count, taken, monkeypatch):
    monkeypatch.setattr(convolution, "AMX", True)
    x, w = numbers(count, 8, 16, 16, layout=torch.channels_last).bfloat16(), numbers(8, 8, 3, 3, seed=1).bfloat16()
    x, w = (t.detach().requires_grad_() for t in (x, w))
    y = convolve(x, w, None, 1, 1)
    assert (y.grad_fn.name() == "_ConvolutionBackward") is taken
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    g = numbers(*y.shape, seed=2).detach().bfloat16()
    exact = torch.autograd.grad(F.conv2d(*wide, None, 1, 1), wide, g.double())
    for mine, truth in zip(torch.autograd.grad(y, [x, w], g), exact, strict=True):
        assert float((mine.double() - truth).norm() / truth.norm()) < 1e-2


def test_one_value_has_no_batch_statistics_and_training_says_what_to_give():
    norm = BatchNorm2d(3)
    with pytest.raises(SizeError, match="give --train.batch_size 2 or more"):
        norm(torch.rand(1, 3, 1, 1))
    assert norm(torch.rand(2, 3, 1, 1)).shape == (2, 3, 1, 1) and norm.eval()(torch.rand(1, 3, 1, 1)).isfinite().all()
