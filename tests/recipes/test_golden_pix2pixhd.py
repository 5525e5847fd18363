"""The published pix2pixHD's numbers, through the real recipe and engine, in float64: one step of G with E, and of D."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.labels import LabelGroup, LabelSpace
from asterism.networks.pix2pixhd import halve
from asterism.recipes.pix2pixhd import Config, Pix2PixHD
from tests.helpers.recipes import trainer_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "pix2pixhd"
SPACE = LabelSpace([LabelGroup("pictures", ("A", "B"), "one_of")])

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="the recorded pix2pixHD numbers are not in the repository")


class Case:
    """The recorded networks, batch and numbers, in float64: `hdglobal` with an encoder, `hdlocal` with an enhancer."""

    def __init__(self, name: str) -> None:
        step = GOLDEN / f"{name}_step.safetensors"
        with safe_open(step, "pt") as file:
            meta = file.metadata()
        assert (meta["no_lsgan"], meta["vgg"], meta["pool_size"], json.loads(meta["betas"])) == (
            "false",
            "off",
            "0",
            [0.5, 0.999],
        )
        self.golden = {key: t.double() for key, t in load_file(step).items()}
        self.noise = json.loads(meta["grad_is_rounding_noise"])
        enhanced, featured = meta["netG"] == "local", meta["instance_feat"] == "true"
        size, classes = json.loads(meta["image_size"]), int(meta["label_nc"])
        config = Config(
            conv_dim=int(meta["ngf"]) * (2 if enhanced else 1),
            num_downs=int(meta["n_downsample_global"]),
            num_blocks=int(meta["n_blocks_global"]),
            enhancers=1 if enhanced else 0,
            enhancer_blocks=int(meta["n_blocks_local"]) or 1,
            global_steps=0,
            enhancer_steps=0,
            scales=int(meta["num_D"]),
            discriminator_conv_dim=int(meta["ndf"]),
            discriminator_layers=int(meta["n_layers_D"]),
            feature_weight=float(meta["lambda_feat"]),
            features=int(meta["feat_num"]) if featured else 0,
            encoder_conv_dim=int(meta["nef"]),
            encoder_downs=int(meta["n_downsample_E"]),
            lr=float(meta["lr"]),
        )
        maps = PictureFormat(2, *size, 0, classes - 1, 16, classes=classes)
        self.recipe = Pix2PixHD(config, SPACE, PictureFormat(3, *size, source=maps)).double()
        self.recipe.to(memory_format=torch.channels_last)  # As the engine has it.
        # Of each published letter, our networks: the published enhancer holds the global generator, without its last layer.
        self.networks = {"G": ["generator"] + ["enhancer"] * enhanced, "D": ["discriminator"], "E": ["encoder"]}
        self.networks = {letter: names for letter, names in self.networks.items() if letter in json.loads(meta["networks"])}
        for letter in self.networks:
            weights = torch.load(GOLDEN / f"{name}_net_{letter}.pth", weights_only=True)
            own = {key: t for part in self.networks[letter] for key, t in self.recipe.networks[part].state_dict().items()}
            left = [key for key in own if key not in weights]
            assert not enhanced or letter != "G" or left == ["model.19.weight", "model.19.bias"]
            assert weights.keys() <= own.keys() and (enhanced or not left)
            for key, t in weights.items():
                own[key].copy_(t)
        channels_last = {"memory_format": torch.channels_last}
        self.source = torch.cat([self.golden["in.label"], self.golden["in.inst"]], 1).contiguous(**channels_last)
        self.image = self.golden["in.image"].contiguous(**channels_last)
        self.batch = Batch(x=self.source, x_pair=self.image, y=torch.zeros(len(self.image), dtype=torch.long))

    def parameters(self) -> dict[str, tuple[str, int]]:
        """Published name -> our network, and the place of the parameter in it."""
        return {
            f"{letter}.{key}": (part, place)
            for letter, parts in self.networks.items()
            for part in parts
            for place, (key, _) in enumerate(self.recipe.networks[part].named_parameters())
            if f"grad.{letter}.{key}" in self.golden
        }


def check(mine: Tensor, theirs: Tensor, limit: float) -> None:
    """Compare relative to the largest element."""
    assert mine.dtype == torch.float64
    torch.testing.assert_close(mine.detach().flatten(), theirs.flatten(), rtol=0, atol=limit * float(theirs.abs().max()))


@pytest.fixture(params=["hdglobal", "hdlocal"])
def case(request) -> Case:
    return Case(request.param)


def test_networks_give_the_published_outputs(case):
    """What the networks see, what is encoded and pooled by instance, the picture, and every layer of every discriminator."""
    recipe, golden = case.recipe, case.golden
    with torch.no_grad():
        c, features = recipe.see(case.source), None
        torch.testing.assert_close(c, golden["enc.input_label"], rtol=0, atol=0)
        if recipe.config.features:
            check(recipe.encoder(case.image), golden["E.unpooled"], 2e-5)
            features = recipe.encode(case.source, case.image)
            check(features, golden["E.pooled"], 2e-5)
        else:
            check(halve(c), golden["G.half_input"], 1e-6)
            check(recipe.generator.features(halve(c)), golden["G.global_features"], 2e-5)
        check(recipe.render(case.source, features), golden["out.fake_image"], 2e-5)
        for kind, x in (("fake", golden["out.fake_image"]), ("real", case.image)):
            found = recipe.discriminator(c, x)
            named = {f"D.{kind}.{i}.{j}": t for i, layers in enumerate(found) for j, t in enumerate(layers)}
            assert named.keys() == {key for key in golden if key.startswith(f"D.{kind}.")}
            for key, t in named.items():
                check(t, golden[key], 2e-5)


def test_a_training_step_agrees(case):
    """Losses, gradients and weights after the updates of G (with E) and D, both judged by what neither has changed."""
    recipe, golden = case.recipe, case.golden
    trainer = trainer_of(recipe, batch_size=len(case.image))
    trainer.optimizers.set_rates(1.0)
    trainer.train_batch(case.batch, len(case.image))

    said = trainer.statistics.drain(Processes())
    published = {"discriminator/fake": "D_fake", "discriminator/real": "D_real", "generator/adversarial": "G_GAN"}
    for mine, theirs in published.items():
        assert said[mine] == pytest.approx(golden[f"loss.{theirs}"].item(), rel=5e-6)
    assert recipe.config.feature_weight * said["generator/features"] == pytest.approx(
        golden["loss.G_GAN_Feat"].item(), rel=5e-6
    )

    moments, places = trainer.optimizers.state_dict()["adam"], case.parameters()
    assert {f"grad.{key}" for key in places} == {key for key in golden if key.startswith("grad.")}
    norms = {
        letter: max(float(t.norm()) for key, t in golden.items() if key.startswith(f"grad.{letter}."))
        for letter in case.networks
    }
    for key, (part, place) in places.items():
        expected, after = golden[f"grad.{key}"], golden[f"after.{key}"]
        mine = 2 * moments[part]["state"][place]["exp_avg"]  # Of one step, with beta1 = 0.5.
        parameter = list(recipe.networks[part].parameters())[place].detach()
        moved = (parameter - after).abs()
        assert bool((moved <= 2.1 * recipe.config.lr).all()), key
        if key in case.noise:  # In front of a norm: zero, but for rounding.
            assert float(mine.abs().max()) <= 1e-5 * norms[key[0]]
            continue
        check(mine, expected, 1e-4)
        steady = expected.abs() > 1e-5 * norms[key[0]]  # Else the step's sign is rounding's.
        assert bool((moved[steady] <= 0.01 * recipe.config.lr).all()), key
