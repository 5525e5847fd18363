"""One training run from settings to outcome: check everything, start or resume, train."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from asterism import __version__, malloc
from asterism.config import ConfigError, TrainConfig
from asterism.data.collection import DataError
from asterism.data.dataset import Datasets, open_data
from asterism.data.loader import Loader
from asterism.data.value_range import little_used
from asterism.engine import checkpoint
from asterism.engine.best import Best, Evaluation
from asterism.engine.distributed import Processes
from asterism.engine.finetune import adopt
from asterism.engine.preview import Previews
from asterism.engine.trainer import Outcome, Trainer
from asterism.machine import Machine
from asterism.recipes import recipe_class
from asterism.recipes.base import Masks, Recipe
from asterism.recipes.model import load_model
from asterism.recipes.settings import Settings
from asterism.storage.model_file import FILE_NAME, find_model
from asterism.storage.run_folder import called, read_json, read_model
from asterism.storage.whole import write_json
from asterism.terminal import waiting

OWN_LICENCE = "the trainer's own; none was stated"
"""Of the weights of a model trained from scratch."""

MakeEvaluation = Callable[[Path, Settings, Datasets, Machine, Callable[[str], None]], Evaluation | None]
"""From the run's folder, its settings, data, machine and what is told to a person; none where nothing can be measured."""


def train(
    recipe: str,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    preset: str | None = None,
    init: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    masks: Masks | None = None,
    evaluation: MakeEvaluation | None = None,
) -> Outcome:
    """Train a recipe, or go on with the run in `out` where it stopped.

    Args:
        recipe: name, as `asterism list` shows it.
        data: one or more folders or tables; several are joined, each with its own labels.
        out: the run's folder.
        preset: named settings of the recipe.
        init: run or model file whose weights a new run starts from.
        overrides: dotted keys, such as {"train.steps": 5000}.
        masks: for recipes that carry detail over by masks (StarGAN v2 with `recipe.high_pass`): a function from pictures
            [N, C, H, W] in [-1, 1] to two masks [N, 1, h, w] in [0, 1]; called once a step for the sources and once for
            what is made of them, without gradients. Goes with {"recipe.masks": "given"}.
        evaluation: makes what measures the run while it trains; none measures nothing.

    Returns:
        The last step, and the signal that ended the run if one did.

    Raises:
        ConfigError, DataError, LabelError, SizeError, ModelError: what is wrong and the remedy, before training starts.
        TrainingError, CheckpointError: what stopped the training and what is kept.
    """
    sources = [data] if isinstance(data, (str, Path)) else list(data)
    settings = Settings.resolve(recipe, [str(s) for s in sources], preset, overrides)
    return run(settings, Path(out), init, masks, evaluation)


def run(
    settings: Settings,
    out: Path,
    init: str | Path | None = None,
    masks: Masks | None = None,
    evaluation: MakeEvaluation | None = None,
) -> Outcome:
    """Train with resolved settings; see `train`."""
    refuse_changes(settings, out, init)
    machine = Machine.choose(Processes.own_device(settings.train.device), settings.train.precision)
    processes = Processes.join(machine.device)
    try:
        with malloc.kept():
            return start(settings, out, init, machine, processes, masks, evaluation).train()
    finally:
        processes.leave()


def start(
    settings: Settings,
    out: Path,
    init: str | Path | None,
    machine: Machine,
    processes: Processes,
    masks: Masks | None = None,
    evaluation: MakeEvaluation | None = None,
) -> Trainer:
    """Open the data, build or restore the recipe, and return the trainer ready to train."""
    if settings.train.batch_size < processes.world:
        raise ConfigError(
            f"train.batch_size {settings.train.batch_size} is divided among {processes.world} processes: give each a picture"
        )
    began = time.perf_counter()
    with waiting("reading the headers of the pictures", quiet=not processes.first):
        datasets = open_data(settings.data)
    loader = Loader(
        datasets.splits["train"],
        datasets.picture,
        settings.data,
        batch_size=settings.train.batch_size,
        seed=settings.train.seed,
        references=recipe_class(settings.name).references,
        rank=processes.rank,
        world=processes.world,
        device=machine.device if machine.device.type == "cuda" else None,
        on_broken=lambda path, reason: trainer.display.say(f"left out: {path}: {reason}"),
    )
    config = in_steps(settings.train, loader.steps_per_epoch)
    network = build(settings, datasets)
    if masks is not None:
        network.mask_by(masks)
    identity = {
        "settings": settings.to_json(),
        "labels": datasets.space.to_json(),
        "picture": dataclasses.asdict(datasets.picture),
        "fingerprint": datasets.fingerprint,
    }
    info = {
        "data": [{"name": s.name, "pictures": len(s)} for s in loader.sets],
        "preset": settings.preset,
        "version": __version__,
        "licence": settings.train.licence or OWN_LICENCE,
    }
    origin: dict[str, Any] = {}
    machine.place(network)
    trainer = Trainer(
        network, loader, config, out, machine=machine, processes=processes, identity=identity, previews=None, info=info
    )
    say = trainer.display.say
    state = checkpoint.newest(out / "checkpoints", say)
    if state is not None:
        if state["fingerprint"] != datasets.fingerprint:
            raise ConfigError(
                f"the pictures, labels or splits are not those that {out} was trained on: give the same --data, or start "
                f"another run with --init {out}"
            )
        origin = (read_json(out / "config.json") or {}).get("origin", {})
        info |= origin
        trainer.load_state_dict(state)
        held = read_model(out / FILE_NAME).get("info", {})  # Gone, of an earlier step since a kill came, or of another licence.
        if held.get("licence") != info["licence"] or (trainer.best.step is None and held["step"] != trainer.step):
            best = checkpoint.read(out / "checkpoints" / checkpoint.BEST, say) if trainer.best.step is not None else None
            if best is None:
                trainer.best, trainer.saved_at = Best(), -1
            elif processes.first:
                trainer.write_model(best["networks"] | best["average"])
        processes.wait()  # Until all have looked, since the first process is about to write it.
    elif init is not None:
        model = load_model(find_model(init))
        for note in adopt(network, model, settings.name):
            say(f"--init: {note}")
        origin["created_from"] = [called(init) if Path(init).expanduser().exists() else str(init)]  # Else a name on the hub.
        licence = str(model.info.get("licence", ""))
        if licence and licence not in (OWN_LICENCE, "not stated"):  # What is derived from weights stays under their licence.
            origin["licence"] = licence
            say(f"--init: its weights are under {licence}, and so are those of this run")
        info |= origin
        trainer.average.load(network.state_dict())
    if settings.train.licence not in ("", info["licence"]):
        raise ConfigError(f"--train.licence: the run is made from weights under {info['licence']}, which holds for it too")
    network.begin(new=state is None)
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
        if state is None:  # A start that reached no checkpoint left pictures of its own.
            shutil.rmtree(out / "previews", ignore_errors=True)
        write_json(out / "config.json", settings.to_json() | {"origin": origin})
        if network.translates:
            trainer.previews = choose_previews(trainer, datasets, settings.train.seed)
        ahead = trainer.step < trainer.config.steps and 0 < trainer.config.evaluate_every <= trainer.config.steps
        if evaluation is not None and network.translates and ahead:
            trainer.evaluation = evaluation(out, settings, datasets, machine, say)
        announce(trainer, settings, datasets, time.perf_counter() - began)
    return trainer


def build(settings: Settings, datasets: Datasets) -> Recipe:
    """Build the recipe for the data, with initial weights that are a function of the seed."""
    torch.manual_seed(settings.train.seed)
    return recipe_class(settings.name)(settings.recipe, datasets.space, datasets.picture)


def choose_previews(trainer: Trainer, datasets: Datasets, seed: int) -> Previews:
    """Preview validation pictures, or training pictures where a dataset has no validation picture that can be decoded."""
    val, train = datasets.splits["val"], datasets.splits["train"]
    try:
        sets = val if all(map(len, val)) else train
        return Previews(trainer.run, sets, trainer.recipe, trainer.machine.device, seed, more=train)
    except DataError:
        trainer.display.say("previews show training pictures, since no validation picture can be decoded")
        return Previews(trainer.run, train, trainer.recipe, trainer.machine.device, seed)


def in_steps(config: TrainConfig, steps_per_epoch: int) -> TrainConfig:
    """Convert lengths in epochs to steps; decay never exceeds the whole length."""
    steps = config.steps if config.epochs is None else max(1, round(config.epochs * steps_per_epoch))
    decay = config.decay_steps if config.decay_epochs is None else round(config.decay_epochs * steps_per_epoch)
    return dataclasses.replace(config, steps=steps, decay_steps=min(decay, steps))


def refuse_changes(settings: Settings, out: Path, init: str | Path | None) -> None:
    """Raise ConfigError when `out` holds a run of other settings or origin, or something that training must not replace."""
    path = out / "config.json"
    if (out / FILE_NAME).exists() and not checkpoint.find(out / "checkpoints"):
        raise ConfigError(f"{out} holds a model without checkpoints to go on from: give another --out, with --init {out}")
    if path.exists():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            changes = settings.changed_since(old)
            (first,) = old.get("origin", {}).get("created_from", ["fresh weights"])
            if init is not None and called(init) != called(first):
                changes.append(f"--init: {first} -> {called(init)}")
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path} is damaged, or of another program: give another --out") from error
        if changes and checkpoint.find(out / "checkpoints"):  # A start that reached none has nothing to go on with.
            raise ConfigError(
                f"{out} holds a run with other settings:\n  " + "\n  ".join(changes) + "\nrepeat the first command to resume "
                "it, or give another --out (with --init to start from its weights)"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not a run: give another --out or an empty folder")


def announce(trainer: Trainer, settings: Settings, datasets: Datasets, seconds: float) -> None:
    """Say what is about to be trained, on what, where, and the automatic choices."""
    say = trainer.display.say
    for note in datasets.notes:
        say(f"note: {note}")
    if isinstance(trainer.previews, Previews) and datasets.picture.depth == 16:
        low, high = datasets.picture.low, datasets.picture.high
        bottom, top = (low + (float(x) + 1) / 2 * (high - low) for x in (trainer.previews.x.min(), trainer.previews.x.max()))
        if text := little_used(bottom, top, datasets.picture):
            say(f"note: the pictures of the previews hold {text}; asterism doctor says which range suits them")
    for path, reason in datasets.broken:
        say(f"left out: {path}: {reason}")
    for pictures, read in zip(trainer.loader.sets, datasets.splits["train"], strict=True):
        if len(pictures) < len(read):
            without = len(read) - len(pictures)
            say(f"note: {pictures.name}: training pictures without a domain, or with several, left out: {without:,}")
        labels = datasets.space.names[datasets.space.dataset_span(pictures.dataset)]
        say(f"{pictures.name}: {len(pictures)} training pictures, labels {', '.join(labels)}")
    sizes = ", ".join(f"{n} {sum(p.numel() for p in net.parameters()):,}" for n, net in trainer.recipe.networks.items())
    say(f"{settings.name}, {datasets.picture.channels}x{datasets.picture.height}x{datasets.picture.width}; parameters: {sizes}")
    config = trainer.config
    if trainer.step >= config.steps:
        say(f"nothing left to train: the run is at step {trainer.step} of {config.steps}; a larger --train.steps goes on")
        return
    if config.batch_size < trainer.recipe.advised_batch:
        say(
            f"note: batches of {config.batch_size} are known to spoil {settings.name}'s results; take "
            f"{trainer.recipe.advised_batch} or more: --train.accumulate computes them in parts where memory is short"
        )
    where = f"resuming at step {trainer.step} of {config.steps}" if trainer.step else f"starting, {config.steps} steps"
    how = trainer.tables.reason + (", recorded as CUDA graphs" if trainer.recorder else "")
    say(f"{where}; batch {config.batch_size}; {trainer.machine.reason}; {how}; ready in {seconds:.1f} s")
