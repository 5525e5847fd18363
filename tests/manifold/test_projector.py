"""The projector: a network that reads codes, trained for one generator, and the searches that begin with what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.inference.reading import own_projector, read_by
from asterism.manifold.projector import Config, Network, Projector
from asterism.recipes.model import save_model
from tests.helpers.generating import COLOURS, save_dcgan
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "igan"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose generator makes pictures of 16 x 16 pixels of 8 numbers."""
    return save_dcgan(tmp_path / "noise")


def trained(run: Path, steps: int = 80) -> Projector:
    """A projector after some real updates; its pictures are the generator's own."""
    torch.manual_seed(0)
    recipe = Projector(Config(model=str(run), conv_dim=8, lr=2e-3), COLOURS, PictureFormat(3, 16, 16))
    recipe.begin(new=True)
    trainer, rng = trainer_of(recipe, precision="float32"), torch.Generator().manual_seed(1)
    (generator,) = recipe.generators
    for _ in range(steps):
        with torch.no_grad():
            x = generator.generate(torch.randn(16, 8, generator=rng), torch.zeros(16, 0))
        trainer.train_batch(Batch(x=x, z=torch.randn(16, 8, generator=rng)), 16)
        trainer.step += 1
    return recipe.eval().requires_grad_(False)


def test_it_learns_to_read_codes_and_leaves_the_generator_alone(run: Path) -> None:
    model = asterism.load(run, device="cpu", precision="float32")
    fresh, recipe = trained(run, 0), trained(run)
    assert list(recipe.networks) == ["encoder"] and recipe.config.latent_dim == 8 and recipe.config.model == "noise"
    for key, tensor in recipe.generators[0].state_dict().items():
        assert torch.equal(tensor, model.recipe.state_dict()[key]), key
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(2))
    x = model.recipe.generate(z, z[:, :0])
    apart = [(r.read(x) - z).square().mean() for r in (fresh, recipe)]
    assert apart[1] < 0.5 * apart[0]
    # As a start it is better than a drawn one, and the search from it goes on from there.
    network = model.project(list(x[:4]), read=recipe.read, starts=1, steps=0)
    drawn = model.project(list(x[:4]), starts=1, steps=0)
    hybrid = model.project(list(x[:4]), read=recipe.read, starts=1, steps=30)
    assert sum(hybrid.errors) < 0.5 * sum(network.errors) < 0.25 * sum(drawn.errors)


def test_from_the_command_line_to_a_table_of_three_errors(
    run: Path, shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run / "projector"
    words = ["train", "projector", "--model", str(run), "--data", str(shapes_dir), "--out", str(out), "--data.size", "16"]
    small = ["--data.workers", "0", "--train.steps", "2", "--train.batch_size", "4", "--recipe.conv_dim", "4"]
    assert main([*words, *small, "--device", "cpu", "--train.precision", "float32"]) == 0
    model = asterism.load(run, device="cpu", precision="float32")
    assert own_projector(model) == out / "model.safetensors"
    (tmp_path / "in").mkdir()
    for number, picture in enumerate(model.generate(2)):
        picture.save(tmp_path / "in" / f"{number}.png")
    capsys.readouterr()
    words = ["project", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--steps", "20", "--starts", "2"]
    assert main([*words, "--compare", "--device", "cpu"]) == 0
    rows = {line.split()[0]: float(line.split()[1]) for line in capsys.readouterr().out.splitlines()[-3:]}
    assert list(rows) == ["network", "optimisation", "hybrid"]
    assert max(rows["hybrid"], rows["optimisation"]) < rows["network"]


def test_what_a_projector_cannot_be_trained_for_or_used_with(run: Path, tmp_path: Path) -> None:
    picture = PictureFormat(3, 16, 16)
    with pytest.raises(ConfigError, match="name it, --model RUN"):
        Projector(Config(), COLOURS, picture)
    with pytest.raises(ConfigError, match="makes pictures of 3 x 16 x 16 values; these data give 3 x 32 x 32"):
        Projector(Config(model=str(run)), COLOURS, PictureFormat(3, 32, 32))
    other = Projector(Config(model=str(run), latent_dim=5), COLOURS, picture)
    with pytest.raises(ConfigError, match="recipe.latent_dim is 5; the latents of .* have 8"):
        other.begin(new=True)
    with pytest.raises(ConfigError, match="is a model of dcgan and reads no codes"):
        read_by(asterism.load(run, device="cpu"), run)
    save_dcgan(tmp_path / "other", latent=5)
    with pytest.raises(ConfigError, match="reads 8 numbers from pictures of 3 x 16 x 16; this model needs 5 numbers"):
        projector = Projector(Config(model=str(run)), COLOURS, picture)
        save_model(tmp_path / "p.safetensors", projector, "projector", projector.state_dict(), info={})
        read_by(asterism.load(tmp_path / "other", device="cpu"), tmp_path / "p.safetensors")
    with pytest.raises(ConfigError, match="recipe.model: there is no model"):
        Projector(Config(model=str(tmp_path / "nothing")), COLOURS, picture)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded numbers are not beside this checkout")
def test_the_network_gives_the_published_codes() -> None:
    from safetensors.torch import load_file

    held = torch.load(GOLDEN / "rgb32_dcgan_theano.ckpt", weights_only=True)
    golden = load_file(GOLDEN / "rgb32_step.safetensors")
    network = Network(3, 32, 8, 3).double().eval()
    first, *normed, last = [t.double() for t in held["predict_params"]]
    state = {"main.0.weight": first.flip(2, 3), "main.9.weight": last.T}  # Theano turns kernels round.
    means, variances = held["predict_batchnorm"][:2], held["predict_batchnorm"][2:]
    for place, (number, mean, var) in enumerate(zip((2, 5), means, variances, strict=True)):
        weight, gain, bias = normed[3 * place : 3 * place + 3]
        state |= {
            f"main.{number}.weight": weight.flip(2, 3),
            f"main.{number + 1}.weight": gain,
            f"main.{number + 1}.bias": bias,
        }
        state |= {f"main.{number + 1}.running_mean": mean, f"main.{number + 1}.running_var": var}
    missing = network.load_state_dict({key: t.double() for key, t in state.items()}, strict=False)
    assert all("num_batches" in key for key in missing.missing_keys) and not missing.unexpected_keys
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-8
    with torch.no_grad():
        torch.testing.assert_close(network(golden["x"].double()).tanh(), golden["p"].double(), rtol=0, atol=2e-6)
