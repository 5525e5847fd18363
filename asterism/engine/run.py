"""One training run from settings to outcome: check everything, start or resume, train."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asterism import __version__, malloc
from asterism.config import ConfigError, TrainConfig
from asterism.data.dataset import Datasets, open_data
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.engine import checkpoint
from asterism.engine.best import Best, Evaluation
from asterism.engine.distributed import Processes
from asterism.engine.finetune import adopt
from asterism.engine.listener import Listener, Silent
from asterism.engine.preview import Previews, Samples
from asterism.engine.trainer import Outcome, Trainer
from asterism.lock import NAME, locked
from asterism.machine import Machine
from asterism.recipes import JUDGES, recipe_class
from asterism.recipes.base import Masks, Recipe
from asterism.recipes.model import load_model
from asterism.recipes.settings import Settings
from asterism.storage.model_file import FILE_NAME, find_model
from asterism.storage.run_files import RunError, called, read_config, read_json, read_model
from asterism.storage.whole import write_json

OWN_LICENCE = "the trainer's own; none was stated"
"""Of the weights of a model trained from scratch."""

MakeEvaluation = Callable[[Path, Settings, Datasets, Machine, Callable[[str], None]], Evaluation | None]
"""From the run's folder, its settings, data, machine and what is told to a person; none where nothing can be measured."""


@dataclass(frozen=True)
class Prepared:
    """A run that has passed every check and has written nothing yet.

    Args:
        datasets: the run's data, of which the headers are read.
        recipe: on the CPU, with the weights that the run starts from.
        state: the checkpoint that it goes on from; none for a new run.
        origin: where a new run's weights come from (`created_from`, `licence`), as config.json and the model file say it.
    """

    settings: Settings
    out: Path
    datasets: Datasets
    recipe: Recipe
    state: dict[str, Any] | None
    origin: dict[str, Any]
    licence: str


def run(
    settings: Settings,
    out: Path,
    init: str | Path | None = None,
    masks: Masks | None = None,
    evaluation: MakeEvaluation | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Train with resolved settings, or go on where the run in `out` stopped; `asterism.training.train` explains the rest."""
    refuse_changes(settings, out, init)
    machine = Machine.choose(Processes.own_device(settings.train.device), settings.train.precision)
    processes = Processes.join(machine.device)
    try:
        with malloc.kept(), locked(out) if processes.first else nullcontext():
            return start(settings, out, init, machine, processes, masks, evaluation, listener).train()
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
    listener: Listener | None = None,
) -> Trainer:
    """Prepare a run, open its folder, and return the trainer ready to train."""
    began = time.perf_counter()
    heard = listener if listener is not None and processes.first else Silent()
    prepared = prepare(settings, out, init, heard, processes, masks)
    fewest = min(phase.batch or settings.train.batch_size for phase in prepared.recipe.phases)
    if fewest < processes.world:
        raise ConfigError(f"batches of {fewest} are divided among {processes.world} processes: give each a picture")
    own: dict[str, Any] = settings.to_json() | {"fingerprint": prepared.datasets.fingerprint}
    own["data"].pop("sources")  # Their place may be another on every node.
    first = processes.told(own)
    if unlike := [key for key in own if own[key] != first.get(key)]:
        raise ConfigError(f"process {processes.rank} has other {', '.join(unlike)} than the first: give all nodes the same")
    trainer = make_trainer(prepared, machine, processes, heard)
    if processes.world > 1:  # Of the first, since machines may differ in how they draw or where they read.
        trainer.recipe.load_state_dict(processes.told(trainer.recipe.state_dict()))
    if prepared.state is not None:
        restore(trainer, prepared.state)
    if processes.first:
        if prepared.state is None:  # A start that reached no checkpoint left pictures of its own.
            shutil.rmtree(out / "previews", ignore_errors=True)
        write_json(out / "config.json", settings.to_json() | {"origin": prepared.origin})
        abilities = prepared.recipe.abilities
        if abilities.makes_pictures:
            trainer.previews = choose_previews(trainer, prepared.datasets, settings.train.seed)
        ahead = trainer.step < trainer.config.steps and 0 < trainer.config.evaluate_every <= trainer.config.steps
        if evaluation is not None and abilities.makes_pictures and ahead:
            trainer.evaluation = evaluation(out, settings, prepared.datasets, machine, heard.say)
        announce(trainer, settings, prepared.datasets, time.perf_counter() - began)
    return trainer


def prepare(
    settings: Settings, out: Path, init: str | Path | None, listener: Listener, processes: Processes, masks: Masks | None = None
) -> Prepared:
    """Check all that can keep a run from starting, and gather what it starts from; nothing is written.

    Raises:
        ConfigError, DataError, LabelError, SizeError, ModelError: what is wrong and the remedy.
        CheckpointError: none of the run's checkpoints can be read.
    """
    kind, origin = recipe_class(settings.name), dict[str, Any]()
    unread = settings.data.unlabelled == "keep" and kind.labelled and not kind.unlabelled
    if unread and settings.name not in JUDGES:
        raise ConfigError(f"--data.unlabelled keep: {settings.name} learns nothing from pictures without labels: leave it out")
    # Only the first process needs the run's folder: another node may not have it, or not see yet what was written last.
    state = processes.told(checkpoint.newest(out / "checkpoints", listener.say) if processes.first else None)
    names = dict.fromkeys(group["dataset"] for group in state["labels"]) if state is not None else ()
    with listener.waiting("reading the headers of the pictures"):
        datasets = open_data(settings.data, kind.labelled, kind.two_kinds, tuple(names))
    if unread:  # By a judge, which learns from the labelled ones of a run that keeps both.
        datasets.splits["train"] = [s.take(s.known.any(1).nonzero()[:, 0].tolist()) for s in datasets.splits["train"]]
    recipe = build(settings, datasets)
    if masks is not None:
        recipe.mask_by(masks)
    if state is not None:
        if state["fingerprint"] != datasets.fingerprint:
            raise ConfigError(
                f"the pictures, labels or splits differ from those that {out} was trained on: give the same --data, or start "
                f"another run with --init {out}"
            )
        if state["networks"].keys() != recipe.state_dict().keys():
            raise ConfigError(f"{out} was begun by a version with other networks: start another run with --init {out}")
        recipe.load_state_dict(state["networks"])
        origin = processes.told((read_json(out / "config.json") or {}).get("origin", {}))
    elif init is not None:
        origin = adopt_weights(recipe, settings.name, init, listener)
    licence = origin.get("licence") or settings.train.licence or OWN_LICENCE
    if settings.train.licence not in ("", licence):
        raise ConfigError(f"--train.licence: the run starts from weights under {licence}, and inherits that licence")
    for note in recipe.begin(new=state is None):
        listener.say(f"note: {note}")
    return Prepared(settings, out, datasets, recipe, state, origin, licence)


def adopt_weights(recipe: Recipe, name: str, init: str | Path, listener: Listener) -> dict[str, Any]:
    """Copy the weights of the model that `init` names into a new run's recipe; return where they come from."""
    model = load_model(find_model(init))
    for note in adopt(recipe, model, name):
        listener.say(f"--init: {note}")
    origin = {"created_from": [called(init) if Path(init).expanduser().exists() else str(init)]}  # Else a name on the hub.
    licence = str(model.info.get("licence", ""))
    if licence in ("", OWN_LICENCE, "not stated"):
        return origin
    listener.say(f"--init: its weights are under {licence}, which this run inherits")  # Derived weights keep a licence.
    return origin | {"licence": licence}


def make_trainer(prepared: Prepared, machine: Machine, processes: Processes, listener: Listener) -> Trainer:
    """Move the recipe to the device, and return a trainer of it at step 0."""
    settings, datasets, recipe, out = prepared.settings, prepared.datasets, prepared.recipe, prepared.out
    sizes = [(phase.until, phase.batch or settings.train.batch_size) for phase in recipe.phases]
    loader = Loader(
        datasets.splits["train"],
        recipe.picture,
        settings.data,
        batch_size=sizes[-1][1],
        batches=[(until, size) for until, size in sizes if until is not None],
        seed=settings.train.seed,
        streams=recipe.streams,
        rows=processes.rows,
        device=machine.device if machine.device.type == "cuda" else None,
        on_broken=lambda path, reason: listener.say(f"left out: {path}: {reason}"),
    )
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
        "licence": prepared.licence,
        **prepared.origin,
    }
    machine.place(recipe)
    config = in_steps(settings.train, loader.steps_per_epoch)
    return Trainer(
        recipe, loader, config, out, identity=identity, info=info, listener=listener, machine=machine, processes=processes
    )


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Go on from a checkpoint; make good a model file that is missing, of an earlier step or of another licence.

    A kill between the writing of a checkpoint and that of the model file leaves such a file.
    """
    trainer.load_state_dict(state)
    held = read_model(trainer.run / FILE_NAME).get("info", {})
    best, first = trainer.best.step, trainer.processes.first
    if first and (held.get("licence") != trainer.info["licence"] or (best is None and held["step"] != trainer.step)):
        file = trainer.run / "checkpoints" / checkpoint.BEST
        kept = checkpoint.read(file, trainer.listener.say) if best is not None else None
        if kept is None:
            trainer.best, trainer.saved_at = Best(), -1
        else:
            trainer.write_model(kept["networks"] | kept["average"])
    trainer.best, trainer.saved_at = trainer.processes.told((trainer.best, trainer.saved_at))


def build(settings: Settings, datasets: Datasets) -> Recipe:
    """Build the recipe for the data, with initial weights that are a function of the seed."""
    torch.manual_seed(settings.train.seed)
    return recipe_class(settings.name)(settings.recipe, datasets.space, datasets.picture)


def choose_previews(trainer: Trainer, datasets: Datasets, seed: int) -> Previews | Samples:
    """Preview validation pictures, or training pictures where a dataset has no validation picture that can be decoded."""
    if not trainer.recipe.abilities.translates:
        return Samples(trainer.run, trainer.recipe, seed)
    val, train = datasets.splits["val"], datasets.splits["train"]
    try:
        return Previews(trainer.run, val if all(map(len, val)) else train, trainer.recipe, seed, more=train)
    except DataError:
        trainer.listener.say("previews show training pictures, since no validation picture can be decoded")
        return Previews(trainer.run, train, trainer.recipe, seed, more=())


def in_steps(config: TrainConfig, steps_per_epoch: int) -> TrainConfig:
    """Convert lengths in epochs to steps; decay never exceeds the whole length."""
    steps = config.steps if config.epochs is None else max(1, round(config.epochs * steps_per_epoch))
    decay = config.decay_steps if config.decay_epochs is None else round(config.decay_epochs * steps_per_epoch)
    return dataclasses.replace(config, steps=steps, decay_steps=min(decay, steps))


def refuse_changes(settings: Settings, out: Path, init: str | Path | None) -> None:
    """Raise ConfigError when `out` holds a run of other settings or origin, or something that training must not replace."""
    if (out / FILE_NAME).exists() and not checkpoint.find(out / "checkpoints"):
        raise ConfigError(f"{out} holds a model without checkpoints to resume from: give another --out, with --init {out}")
    if (out / "config.json").exists():
        try:
            old = read_config(out)
        except RunError as error:
            raise ConfigError(f"{error}: give another --out") from error
        changes = settings.changed_since(old)
        first = old.get("origin", {}).get("created_from", ["fresh weights"])[0]
        if init is not None and called(init) != called(first):
            changes.append(f"--init: {first} -> {called(init)}")
        if changes and checkpoint.find(out / "checkpoints"):  # A start that reached none has nothing to go on with.
            raise ConfigError(
                f"{out} holds a run with other settings:\n  " + "\n  ".join(changes) + "\nrepeat the first command to resume "
                "it, or give another --out (with --init to start from its weights)"
            )
    elif out.exists() and (not out.is_dir() or any(file.name != NAME for file in out.iterdir())):
        raise ConfigError(f"{out} exists and is not a run: give another --out or an empty folder")


def announce(trainer: Trainer, settings: Settings, datasets: Datasets, seconds: float) -> None:
    """Say what is about to be trained, on what, where, and the automatic choices."""
    say, what = trainer.listener.say, "recordings" if datasets.picture.sound else "pictures"
    for note in datasets.notes:
        say(f"note: {note}")
    if isinstance(trainer.previews, Previews) and datasets.picture.depth == 16 and not datasets.picture.source:
        low, high = datasets.picture.low, datasets.picture.high
        bottom, top = (low + (float(x) + 1) / 2 * (high - low) for x in (trainer.previews.x.min(), trainer.previews.x.max()))
        if text := datasets.picture.little_used(bottom, top):
            say(f"note: the pictures of the previews hold {text}; asterism doctor suggests a range")
    for path, reason in datasets.broken:
        say(f"left out: {path}: {reason}")
    for pictures, read in zip(trainer.loader.sets, datasets.splits["train"], strict=True):
        if without := len(read) - len(pictures):
            say(f"note: {pictures.name}: training pictures without a domain, or with several, left out: {without:,}")
        labels = datasets.space.names[datasets.space.dataset_span(pictures.dataset)]
        say(f"{pictures.name}: {len(pictures)} training {what}, {'labels ' + ', '.join(labels) if labels else 'no labels'}")
    sizes = ", ".join(f"{n} {sum(p.numel() for p in net.parameters()):,}" for n, net in trainer.recipe.networks.items())
    say(f"{settings.name}, {datasets.picture.channels}x{datasets.picture.height}x{datasets.picture.width}; parameters: {sizes}")
    config = trainer.config
    if trainer.step >= config.steps:
        say(f"nothing left to train: the run is at step {trainer.step} of {config.steps}; raise --train.steps to continue")
        return
    if config.batch_size < trainer.recipe.advised_batch:
        parts = "" if trainer.recipe.coupled else ": --train.accumulate splits them if memory is short"
        say(
            f"note: batches of {config.batch_size} are known to harm {settings.name}'s results; take "
            f"{trainer.recipe.advised_batch} or more{parts}"
        )
    where = f"resuming at step {trainer.step} of {config.steps}" if trainer.step else f"starting, {config.steps} steps"
    if times := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):  # By torchrun, after a process had ended.
        where = f"restart {times}: {where}"
    how = trainer.tables.reason + (", recorded as CUDA graphs" if trainer.recorder else "")
    say(f"{where}; batch {config.batch_size}; {trainer.machine.reason}; {how}; ready in {seconds:.1f} s")
