"""One case of the benchmark, built twice from the same weights and batch: asterism as it trains, and the published step."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import asterism
from asterism import malloc
from asterism.data.batch import Batch
from asterism.data.pictures import PictureFormat
from asterism.engine.distributed import Processes
from asterism.engine.listener import Silent
from asterism.engine.step import step_generator
from asterism.engine.trainer import Trainer
from asterism.inference.images import Picture
from asterism.inference.styles import Target
from asterism.labels import LabelGroup, LabelSpace
from asterism.machine import Machine
from asterism.networks.pix2pix import halvings_of
from asterism.recipes import recipe_class
from asterism.recipes.base import Stream
from asterism.recipes.model import save_model
from asterism.recipes.settings import Settings
from bench.published_labels import PublishedGANimation, PublishedRelGAN
from bench.published_pairs import PublishedCycleGAN, PublishedPix2Pix
from bench.published_pix2pixhd import PublishedPix2PixHD
from bench.published_step import Published, PublishedStarGAN, PublishedStarGANv2

TITLES = {"stargan": "StarGAN", "stargan_v2": "StarGAN v2", "cyclegan": "CycleGAN", "pix2pix": "pix2pix"}
TITLES |= {"pix2pixhd": "pix2pixHD", "relgan": "RelGAN", "ganimation": "GANimation"}
FACES = LabelSpace([LabelGroup("faces", ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"), "binary")])
TWO_DOMAINS = LabelSpace([LabelGroup("pairs", ("a", "b"), "one_of")])
SPACES = {
    "stargan": FACES,
    "stargan_v2": LabelSpace([LabelGroup("animals", ("cat", "dog", "wild"), "one_of")]),
    "cyclegan": TWO_DOMAINS,
    "pix2pix": TWO_DOMAINS,
    "pix2pixhd": TWO_DOMAINS,
    "relgan": FACES,
    "ganimation": FACES,
}


@dataclass(frozen=True)
class Case:
    """What is trained: a recipe at a size and a batch, at its published widths.

    Args:
        recipe: a key of TITLES.
        size: height of the pictures in pixels, which are square, but pix2pixHD's are twice as wide.
        batch: pictures per step.
        widths: recipe settings that differ from the published ones, to make a case smaller.
    """

    recipe: str
    size: int
    batch: int
    widths: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Name it as in the table of results."""
        height, width = self.sides
        return f"{TITLES[self.recipe]} {{}} {height}{f'x{width}' if width > height else ''}px batch {self.batch}"

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.size, 2 * self.size if self.recipe == "pix2pixhd" else self.size


class Ours:
    """asterism's side: the recipe in the trainer, with what the machine chooses for itself unless told.

    Args:
        case: what is trained.
        options: keys of the training settings, such as {"precision": "float32"}.
        processes: that train together, of whose batch this is one; none: alone.
    """

    def __init__(self, case: Case, options: Mapping[str, str], processes: Processes | None = None) -> None:
        overrides: dict[str, Any] = {f"train.{key}": value for key, value in options.items()}
        overrides |= {f"recipe.{key}": value for key, value in case.widths.items()}
        overrides |= {"data.size": case.sides, "train.batch_size": case.batch}
        self.case = case
        self.settings = Settings.resolve(case.recipe, (), "published", overrides)
        torch.manual_seed(0)
        picture = PictureFormat(3, *case.sides)
        self.recipe = recipe_class(case.recipe)(self.settings.recipe, SPACES[case.recipe], picture)
        self.weights = {name: tensor.clone() for name, tensor in self.recipe.state_dict().items()}
        self.machine = Machine.choose(self.settings.train.device, self.settings.train.precision)
        self.machine.place(self.recipe)
        self.trainer = Trainer(
            self.recipe,
            None,  # type: ignore[arg-type]  # Batches come from here; loading is not what is measured.
            self.settings.train,
            Path(),
            machine=self.machine,
            processes=processes or Processes(),
            identity={},
            listener=Silent(),
            info={},
        )
        self.batch = self.draw(0)
        self.cycle = math.lcm(*(update.every for update in self.recipe.updates))

    def draw(self, seed: int) -> Batch:
        """Return a prepared batch of drawn pictures."""
        whole, pictures = drawn(self.case, self.recipe.streams, seed)
        own = slice(*self.trainer.processes.rows(len(whole)))
        return self.trainer.prepare(whole, {name: x[own] for name, x in pictures.items()})

    def update(self, name: str) -> None:
        """Make one update."""
        with self.machine.backend_flags():
            self.trainer.make([u for u in self.recipe.updates if u.name == name], self.batch, self.case.batch)

    def iteration(self) -> None:
        """Make the training steps after which every update was made: for StarGAN five, the last with both updates."""
        with self.machine.backend_flags():
            for _ in range(self.cycle):
                self.trainer.train_batch(self.batch, self.case.batch)
                self.trainer.step += 1
                self.trainer.average.update(self.trainer.step * self.case.batch, self.case.batch)

    def losses(self) -> dict[str, float]:
        """Return the means of the terms since they were last asked for, without the update's name."""
        terms = self.trainer.statistics.drain(self.trainer.processes)
        return {name.split("/")[1]: value for name, value in terms.items()}

    def optimizer(self, network: str) -> torch.optim.Adam:
        """Return the optimiser of a network."""
        return self.trainer.optimizers.by_network[network]


def published(case: Case, ours: Ours, device: torch.device) -> Published:
    """Build the published side from the weights that ours started with, in float32."""
    config: Any = ours.settings.recipe
    if case.recipe in ("stargan", "ganimation"):
        made = PublishedStarGAN if case.recipe == "stargan" else PublishedGANimation
        return made(
            ours.weights,
            size=case.size,
            labels=ours.recipe.space.num_labels,
            width=config.conv_dim,
            blocks=config.num_blocks,
            critic_width=config.discriminator_conv_dim,
            layers=config.discriminator_layers,
            critic_steps=config.critic_steps,
            lr=config.generator_lr,
            device=device,
        )
    if case.recipe == "relgan":
        return PublishedRelGAN(
            ours.weights,
            size=case.size,
            labels=ours.recipe.space.num_labels,
            width=config.conv_dim,
            blocks=config.num_blocks,
            widths=config.discriminator_widths,
            degrees=config.interpolation_channels,
            lr=config.generator_lr,
            device=device,
        )
    if case.recipe in ("cyclegan", "pix2pix", "pix2pixhd"):
        shape = {"width": config.conv_dim, "critic_width": config.discriminator_conv_dim}
        shape |= {"layers": config.discriminator_layers, "lr": config.lr, "device": device}
        if case.recipe == "cyclegan":
            return PublishedCycleGAN(ours.weights, **shape, blocks=config.num_blocks)
        if case.recipe == "pix2pix":
            return PublishedPix2Pix(ours.weights, **shape, halvings=halvings_of(case.sides))
        shape |= {"halvings": config.num_downs, "blocks": config.num_blocks, "scales": config.scales}
        return PublishedPix2PixHD(ours.weights, **shape)
    return PublishedStarGANv2(
        ours.weights,
        size=case.size,
        domains=ours.recipe.space.num_labels,
        style=config.style_dim,
        latent=config.latent_dim,
        hidden=config.mapping_width,
        capacity=config.capacity,
        widest=config.max_width,
        rates={n: config.mapping_lr if n == "mapping_network" else config.lr for n in ours.recipe.networks},
        device=device,
    )


def drawn(case: Case, streams: Sequence[Stream], seed: int) -> tuple[Batch, dict[str, Tensor]]:
    """Return a batch as the loader gives it: labels in turn, pictures of smooth noise, so that no layer sees a constant."""
    space, n = SPACES[case.recipe], case.batch
    rng, where = step_generator(seed, 0, 0), torch.zeros(n, dtype=torch.int64)
    whole = Batch(
        labels=space.sample_uniform(where, rng),
        known=space.known(where),
        dataset=where,
        position=torch.arange(n),
        mirror=torch.zeros(n, dtype=torch.bool),
    )
    names = ["x", *(f"x_{stream.name}" for stream in streams)]
    labels = space.sample_uniform(where, rng) if streams else whole.labels
    for stream in streams:  # All of them of one domain, as those of StarGAN v2 are.
        whole = whole.extend(**{f"labels_{stream.name}": labels, f"known_{stream.name}": space.known(where)})
    whole = whole.extend(**{name.replace("x", "mirror"): torch.zeros(n, dtype=torch.bool) for name in names})
    pictures = {}
    for name in names:
        coarse = torch.rand(n, 3, 8, 8, generator=rng)
        smooth = torch.nn.functional.interpolate(coarse, case.sides, mode="bicubic")
        grain = torch.rand(n, 3, *case.sides, generator=rng) - 0.5
        pictures[name] = (smooth * 255 + grain * 40).clamp(0, 255).to(torch.uint8)
    return whole, pictures


def plain(batch: Batch) -> Batch:
    """Return the same values in tensors of their own, stored plane by plane: the published side's batch."""
    return Batch(**{name: t.clone(memory_format=torch.contiguous_format) for name, t in batch.items()})


@contextmanager
def as_published(tf32: bool) -> Iterator[None]:
    """Give the published side the settings of a process of its own, in one whose freed memory is kept (`asterism.malloc`).

    On CUDA its float32 products are rounded to TF32, or not, and kernels are chosen by timing as there. On a CPU with glibc,
    freed memory goes back to the system as it does where nothing is set.
    """
    cudnn, before = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    malloc.behave(malloc.UNSET)
    try:
        with cudnn.flags(enabled=cudnn.enabled, benchmark=torch.cuda.is_available(), allow_tf32=tf32):
            yield
    finally:
        malloc.behave(malloc.KEEPING)
        torch.backends.cuda.matmul.allow_tf32 = before


class Translation:
    """Translation of a batch of pictures that are in memory as float tensors, by both sides; decoding and encoding excluded."""

    def __init__(self, case: Case, options: Mapping[str, str], device: torch.device) -> None:
        ours = Ours(case, options | {"device": device.type})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            save_model(path, ours.recipe, case.recipe, ours.recipe.state_dict(), info={})
            self.translator = asterism.load(path, device=device.type, precision=options.get("precision", "auto"))
        x, names = ours.batch.x.float().contiguous(), ours.recipe.space.names
        self.reference = published(case, ours, device)
        self.x = x
        self.pictures = [Picture(row, lambda y: y) for row in x.cpu()]
        wanted = dict.fromkeys(names, False) | {names[0]: True}
        self.targets = [Target(self.translator.parse(wanted), None)]
        self.codes = torch.tensor([[float(wanted[name]) for name in names]], device=device).expand(case.batch, -1)

    def ours(self) -> list[Tensor]:
        """Translate through the translator; pictures [C, H, W] in [-1, 1]."""
        return [y for _, (y,) in self.translator.stream(self.pictures, self.targets, batch_size=len(self.pictures))]

    def published(self) -> Tensor:
        """Translate by the published generator; [N, C, H, W]."""
        assert isinstance(self.reference, PublishedStarGAN)
        return self.reference.translate(self.x, self.codes)
