"""A model in the service: its name, its facts, and the parsing of targets in requests."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.config import ConfigError
from asterism.inference import source_labels
from asterism.inference.apply import told_of, translate_each
from asterism.inference.codes import values_of
from asterism.inference.decoding import decodes
from asterism.inference.projecting import Read
from asterism.inference.reading import own_projector, read_by
from asterism.inference.styles import StyleSource, Target
from asterism.inference.translator import Translator
from asterism.inference.voices import Voices
from asterism.labels import LabelError
from asterism.recipes.model import load_model
from asterism.runs.folder import Run, read_run
from asterism.serving.limits import Limits, Refused
from asterism.serving.requests import TranslateRequest
from asterism.serving.uploads import read_upload
from asterism.serving.worker import batch_sizes
from asterism.sound.recordings import library
from asterism.storage.model_file import ModelError, find_model
from asterism.storage.run_files import RunError


@dataclass(frozen=True)
class Hosted:
    """A loaded model under the name that requests use.

    Args:
        run: what the files beside the model say; none for a model file alone.
        voices: of a model that takes recordings.
        projector: what reads codes, where the run's folder holds one that was trained.
    """

    name: str
    translator: Translator
    run: Run | None
    voices: Voices | None = None
    projector: Read | None = None

    def summary(self) -> dict[str, Any]:
        """Return what a list of models says of it, as JSON values."""
        model = self.translator.model
        picture = model.picture
        return {
            "name": self.name,
            "recipe": model.name,
            "width": picture.width,
            "height": picture.height,
            "channels": picture.channels,
            "takes": picture.taken.words if self.voices is None else "recordings (WAV, FLAC or OGG)",
            "labels": list(self.translator.labels),
            "styled": self.translator.recipe.abilities.style > 0,
            "translates": self.translator.recipe.abilities.translates and self.voices is None,
            "converts": self.voices is not None,
            "generates": self.translator.recipe.abilities.generates,
            "decodes": self.decodes,
            "codes": {code.name: values_of(code) for code in self.translator.recipe.abilities.codes},
        }

    def description(self) -> dict[str, Any]:
        """Return all that the page of the model says, as JSON values; nothing of it names a file of this machine."""
        model = self.translator.model
        space, info = model.space, model.info
        records = self.run.scores if self.run else {}
        shown = ("protocol", "split", "checkpoint", "step", "rows", "targets", "metrics")
        return {
            **self.summary(),
            "depth": model.picture.depth,
            "values": [model.picture.low, model.picture.high],
            "groups": [
                {"dataset": group.dataset, "kind": group.kind, "labels": labels, "exclusive": sets}
                | ({"range": [group.low, group.high]} if group.kind == "number" else {})
                for group, span, sets in zip(space.groups, space.spans, self._exclusive(), strict=True)
                if (labels := [name for name in space.names[span] if name in self.translator.labels])
            ],
            "predicts_labels": self.predicts_labels,
            "device": self.translator.machine.reason,
            "preset": info.get("preset"),
            "step": info.get("step"),
            "data": [{"name": d.get("name"), "pictures": d.get("pictures")} for d in info.get("data") or ()],
            "licence": info.get("licence"),
            "version": info.get("version"),
            "scores": {name: {key: record[key] for key in shown if key in record} for name, record in records.items()},
        }

    def _style(self, wanted: TranslateRequest, seed: int | None, like: bytes | None, limits: Limits) -> StyleSource | None:
        translator, reference = self.translator, None
        if like is not None:
            reference = read_upload(like, translator.model.picture.made, limits, letterbox=wanted.fit == "letterbox")
        return translator.style(
            seed=seed,
            like=reference,
            truncation=wanted.truncation,
            strength=wanted.strength,
            source=wanted.source,
            fit=wanted.fit,
        )

    @property
    def decodes(self) -> str | None:
        """What the codes are that can be searched: latent, style or labels; none where there are none."""
        try:
            return decodes(self.translator)
        except ModelError:
            return None

    @property
    def predicts_labels(self) -> bool:
        """Whether labels that a target does not name can be told from the picture, or matter at all."""
        return not self.translator.recipe.abilities.judges or not self.translator.model.missing

    def _exclusive(self) -> list[list[list[str]]]:
        space = self.translator.model.space
        return [
            [
                [space.names[i] for i in s]
                for s in space.alternatives
                if group.kind == "binary" and span.start <= s[0] < span.stop and space.names[s[0]] in self.translator.labels
            ]
            for group, span in zip(space.groups, space.spans, strict=True)
        ]

    def read(self, wanted: TranslateRequest, limits: Limits) -> tuple[list[Target], dict[int, float]]:
        """Turn a request's words into targets, and what it states of the picture's labels.

        Decodes the reference picture, so it belongs in a thread.

        Raises:
            Refused: a request that the model cannot fulfil, with the reason.
        """
        translator, space = self.translator, self.translator.model.space
        if len(wanted.to) > limits.results:
            raise Refused(422, f"to: {len(wanted.to)} targets exceed the maximum of one request, {limits.results}")
        try:
            translator.model.require("translates")
            style: StyleSource | None = self._style(wanted, wanted.style, wanted.like, limits)
            if wanted.weight > 0 or wanted.toward is not None or wanted.toward_like is not None:
                second = self._style(wanted, wanted.toward, wanted.toward_like, limits)
                style = translator.between(style, second, wanted.weight)
            targets = [Target(translator.parse(to), style, wanted.strength) for to in wanted.to]
            (known,) = source_labels.stated(space, wanted.labels, 1)
            if not self.predicts_labels:
                source_labels.complete(space, [known], [target.edits for target in targets], None, told_of(translator, targets))
        except (LabelError, ConfigError, ModelError) as error:
            raise Refused(422, str(error)) from error
        return targets, known


def load_models(
    paths: Sequence[str], device: str = "auto", precision: str = "auto", vocoder: str | os.PathLike[str] | None = None
) -> dict[str, Hosted]:
    """Load models for serving: runs, model files or hub names.

    Each is called by its folder's or its file's name, with -2, -3, ... where that is taken.

    Args:
        vocoder: of all models of voices, as for `Voices`.

    Raises:
        ModelError: there is no such model, or it cannot be used.
        ConfigError: a device that is not there.
        SoundError: a vocoder that does not fit a model, or recordings without what the extra `voice` installs.
    """
    hosted: dict[str, Hosted] = {}
    for given in paths:
        file = find_model(given)
        translator = Translator(load_model(file), device, precision)
        translator.path = file
        if not translator.recipe.abilities.makes_pictures:
            raise ModelError(f"{given} is a {translator.model.name}, which judges pictures and generates none")
        if translator.model.picture.sound:
            library("soundfile"), library("librosa")  # Before there is a service that lacks them.
        voices = Voices(translator, vocoder) if translator.model.picture.sound else None
        if voices is None and translator.model.picture.depth == 32:
            raise ModelError(f"{given} takes features (arrays of floats), which the service does not accept")
        stem = _name(given, file)
        name = next(n for i in range(1, len(paths) + 2) if (n := stem if i == 1 else f"{stem}-{i}") not in hosted)
        projector = own_projector(translator)
        read = read_by(translator, projector) if projector else None
        hosted[name] = Hosted(name, translator, _run_of(file), voices, read)
    return hosted


def _name(given: str | os.PathLike[str], file: Path) -> str:
    """Return a name for addresses: letters, digits, dots, dashes and underscores."""
    path = Path(given).expanduser()
    words = path.resolve().name if path.is_dir() else path.stem if path.is_file() else str(given).replace("/", "--")
    if path.is_file() and path.name == "model.safetensors":
        words = file.resolve().parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-.") or "model"


def _run_of(file: Path) -> Run | None:
    try:
        return read_run(file.parent) if file.name == "model.safetensors" else None
    except RunError:
        return None


def warm_up(hosted: Hosted, batch_size: int) -> None:
    """Run a dummy batch of every size, so that no request waits for kernels, nor does memory grow by them."""
    picture, space, can = hosted.translator.model.picture, hosted.translator.model.space, hosted.translator.recipe.abilities
    if can.generates and can.told == "none":
        for count in batch_sizes(batch_size):
            hosted.translator.generate(count, batch_size=count)
    if hosted.voices is not None:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, hosted.voices.sound.rate).astype(np.float32)
        first = hosted.translator.labels[0]
        hosted.voices.translate(noise, hosted.voices.sound.rate, first, labels=first)
    if not can.translates or hosted.voices is not None:
        return
    target = Target(hosted.translator.parse({hosted.translator.labels[0]: True}))
    known = {} if hosted.predicts_labels else {i: False for i in range(space.num_labels)}
    for count in batch_sizes(batch_size):
        x = torch.zeros(count, picture.taken.channels, picture.height, picture.width)
        translate_each(hosted.translator, x, [target] * count, [known] * count)
