"""The rows of the table of results: a case measured, said in lines and as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from asterism import malloc
from bench import arithmetic
from bench.cases import Case, Ours, Translation, as_published, plain, published
from bench.clock import WARM_UP, Clock, alternate
from bench.memory import measure_apart

CYCLE = {"stargan": "training cycle", "stargan_v2": "training iteration"}
CYCLE |= dict.fromkeys(("cyclegan", "pix2pix", "pix2pixhd", "relgan"), "training step") | {"ganimation": "training cycle"}
WHOLE = ("cyclegan", "pix2pix", "pix2pixhd", "ganimation")
"""Published steps whose updates begin with the same fakes, so that only the whole step compares."""


@dataclass(frozen=True)
class Machine:
    """What is measured on: device, clock, FLOP/s of a large matrix product by precision."""

    device: torch.device
    clock: Clock
    ceiling: Mapping[torch.dtype, float]


@dataclass(frozen=True)
class Way:
    """How both sides compute, and what a row says of it.

    Args:
        label: behind the row's name.
        options: `train.*` keys of ours.
        tf32: the published side multiplies in TF32, on a GPU.
        recorded: ours is recorded as CUDA graphs, on a GPU.
    """

    label: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    tf32: bool = False
    recorded: bool = True


AS_CHOSEN = Way()
"""As the machine chooses, against float32."""
FLOAT32 = Way(" float32", {"precision": "float32"})


@dataclass(frozen=True)
class Row:
    """One line of results.

    Args:
        name: as in the table of docs/performance.md.
        ratio: how many times as many pictures per second; for memory how many times fewer bytes.
        detail: the measured values behind it.
    """

    name: str
    ratio: float
    detail: Mapping[str, float]

    def __str__(self) -> str:
        """Say it as `StarGAN training cycle 128px batch 16: 5.6x`."""
        return f"{self.name}: {self.ratio:.2f}x"


def training(case: Case, way: Way, machine: Machine, seconds: float) -> list[Row]:
    """Time every update and the whole iteration of both sides in alternation."""
    ours = Ours(case, dict(way.options) | {"device": machine.device.type})
    ours.trainer.recorder = ours.trainer.recorder if way.recorded else None
    theirs = published(case, ours, machine.device)
    batch = plain(ours.batch)
    works: dict[str, Callable[[], object]] = {"iteration": ours.iteration}

    def apart(work: Callable[[], object]) -> Callable[[], object]:
        def call() -> None:
            with as_published(way.tf32):
                work()

        return call

    for update in () if case.recipe in WHOLE else ours.recipe.updates:
        works[update.name] = lambda name=update.name: ours.update(name)  # type: ignore[misc]
    # One side after the other, since what ours keeps is given back meanwhile: in a call that does not count.
    first, step = next(iter(theirs.updates.items()))
    works["giving back"] = apart(lambda: step(batch))
    for update in ours.recipe.updates:
        works[f"published {update.name}"] = apart(lambda step=theirs.updates[update.name]: step(batch))  # type: ignore[misc]
    works["published iteration"] = apart(lambda: theirs.iteration(batch))
    warm = dict.fromkeys(reversed(works), WARM_UP[machine.device.type])
    if machine.device.type == "cpu":  # There, an iteration takes exactly as long as its updates, and each takes seconds.
        del works["published iteration"]
        del warm["published iteration"]
        if case.recipe not in WHOLE:
            del warm["iteration"]  # Its updates warm it.
        del warm["giving back"], warm[f"published {first}"]  # The one warms the other.
    with malloc.kept():
        taken = alternate(works, warm, seconds, machine.clock)
    if "published iteration" not in taken:
        parts = {u.name: ours.cycle // u.every * taken[f"published {u.name}"] for u in ours.recipe.updates}
        taken["published iteration"] = sum(parts.values())
    for network in theirs.networks.values():
        network.to("meta")  # Where counting costs nothing.
    flops_by_update, flops = arithmetic.needed(theirs, *case.sides)
    rows = []
    for name, needed in [*(flops_by_update.items() if case.recipe not in WHOLE else ()), ("iteration", flops)]:
        rate = needed * case.batch / taken[name]
        detail = {
            "seconds": taken[name],
            "published_seconds": taken[f"published {name}"],
            "pictures_per_second": case.batch / taken[name],
            "needed_flops": needed * case.batch,
            "flops_per_second": rate,
            "share_of_ceiling": rate / machine.ceiling[ours.machine.dtype],
        }
        words = CYCLE[case.recipe] if name == "iteration" else f"update {name}"
        rows.append(Row(str(case).format(words) + way.label, taken[f"published {name}"] / taken[name], detail))
    return rows


def translation(case: Case, way: Way, machine: Machine, seconds: float) -> Row:
    """Time the translation of a batch by both sides in alternation; decoding and encoding excluded."""
    both = Translation(case, way.options, machine.device)
    both.translator.recorder = both.translator.recorder if way.recorded else None

    def reference() -> None:
        with as_published(way.tf32):
            both.published()

    # The first call takes the memory again that was given back meanwhile.
    works: dict[str, Callable[[], object]] = {"again": both.ours, "ours": both.ours, "published": reference}
    with malloc.kept():  # As for a folder.
        taken = alternate(works, {"published": 1, "ours": WARM_UP[machine.device.type]}, seconds, machine.clock)
    detail = {
        "seconds": taken["ours"],
        "published_seconds": taken["published"],
        "pictures_per_second": case.batch / taken["ours"],
    }
    return Row(str(case).format("translation") + way.label, taken["published"] / taken["ours"], detail)


def memory(case: Case, way: Way, machine: Machine) -> Row:
    """Compare the peak of training memory beyond weights, gradients and optimiser state, a process per side."""
    both = {
        side: measure_apart(side, case, dict(way.options) | {"device": machine.device.type}) for side in ("ours", "published")
    }
    detail = {f"{side}_{key}": float(value) for side, values in both.items() for key, value in values.items()}
    return Row(str(case).format("peak memory") + way.label, detail["published_peak"] / detail["ours_peak"], detail)
