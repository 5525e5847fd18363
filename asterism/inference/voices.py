"""Translate recordings: samples to log-mels, those to another speaker's, and these to samples again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.listing import some
from asterism.inference.folder import check_results, find_pictures
from asterism.inference.outcome import Summary, unwritable
from asterism.inference.translator import Translator
from asterism.sound.mel import griffin_lim, log_mel
from asterism.sound.recordings import Recording, checked, encode, is_recording, read, resampled
from asterism.sound.settings import Array, SoundError
from asterism.sound.vocoder import Vocoder
from asterism.sound.waveform import Vocode, fitted, samples_of
from asterism.storage.model_file import ModelError
from asterism.storage.whole import write_whole
from asterism.terminal import counting


class Voices:
    """A trained model of voices, ready for recordings of any length and rate.

    Args:
        translator: of a model that was trained on a pack of recordings.
        vocoder: a file that makes samples of log-mels (`asterism.sound.vocoder`); none uses Griffin and Lim's algorithm.

    Raises:
        ModelError: a model of pictures, or of features that are no log-mels of recordings.
        SoundError: a vocoder that does not fit the model.
    """

    def __init__(self, translator: Translator, vocoder: str | os.PathLike[str] | None = None) -> None:
        sound = translator.model.picture.sound
        if sound is None:
            raise ModelError("this model was not trained on recordings: it takes pictures or features")
        translator.model.require("translates")
        self.translator, self.sound = translator, sound
        self.vocode: Vocode = griffin_lim if vocoder is None else Vocoder(vocoder, sound)

    def translate(
        self, samples: Array, rate: int, to: str | Mapping[str, Any], *, labels: str | Mapping[str, Any] | None = None
    ) -> Array:
        """Translate speech to another speaker.

        Args:
            samples: floats [T], 1 being full scale, or [T, C] of several channels, which are mixed down.
            rate: samples a second.
            to, labels: target and source as `Translator.translate` takes them.

        Returns:
            float32 [T], of the same rate and length.

        Raises:
            SoundError: samples of another kind, too short, silent, or that are no numbers; a vocoder that fails.
            LabelError: as for `Translator.translate`.
        """
        samples = np.asarray(samples)
        if samples.dtype.kind != "f" or samples.ndim not in (1, 2) or samples.size == 0:
            raise SoundError(f"samples are floats [T] or [T, C] from -1 to 1; these are {samples.dtype} {list(samples.shape)}")
        recording = checked(samples.astype(np.float32) if samples.ndim == 1 else samples.astype(np.float32).mean(1), rate)
        return self.spoken(self.frames(self.heard(recording), to, labels), rate, len(recording.samples))

    def heard(self, recording: Recording) -> Array:
        """Return the normalised log-mel of a recording, float32 [B, n]."""
        return log_mel(resampled(recording.samples, recording.rate, self.sound.rate), self.sound)

    def spoken(self, frames: Array, rate: int, length: int) -> Array:
        """Return the samples, float32 [length], of translated frames [B, n], at a rate."""
        return fitted(resampled(samples_of(frames, self.sound, self.vocode), self.sound.rate, rate), length)

    def frames(self, frames: Array, to: str | Mapping[str, Any], labels: str | Mapping[str, Any] | None = None) -> Array:
        """Translate normalised log-mels, float32 [B, n]; of many frames in overlapping windows that are blended."""
        made: Array = self.translator.translate(frames, to, labels=labels, fit="full")
        return made


def translate_recordings(
    voices: Voices,
    inputs: Sequence[str | os.PathLike[str]],
    to: Sequence[str],
    out: str | os.PathLike[str],
    *,
    labels: str | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    progress: bool = False,
) -> Summary:
    """Translate recordings, and all that folders hold, to one or more targets; arguments as for `translate_folder`.

    Writes `<path below the input folder, without suffix>__<target>.wav`, mono, 16 bits, at the source's rate.

    Raises:
        FolderError: as for `translate_folder`.
        LabelError: an unknown target.
        SoundError: the vocoder fails.
    """
    out = Path(out)
    passed: list[str] = []
    sources = find_pictures([Path(given) for given in inputs], out, passed, sounds=True)
    targets = {"+".join(edit.name for edit in voices.translator.parse(target)): target for target in to}
    alone = out.suffix.lower() == ".wav" and not out.is_dir() and len(sources) == len(targets) == 1
    results = [[out if alone else out / f"{name}__{target}.wav" for target in targets] for _, name in sources]
    check_results([path for path, _ in sources], results, out.parent if alone else out, overwrite or skip_existing)
    summary, mixed = Summary(), []
    with counting("translating recordings") if progress else nullcontext(lambda done, total: None) as tell:
        for number, ((path, _), paths) in enumerate(zip(sources, results, strict=True), 1):
            missing = [
                place for place in zip(paths, targets.values(), strict=True) if not (skip_existing and place[0].exists())
            ]
            summary.kept += [place for place in paths if place not in {made for made, _ in missing}]
            try:
                recording = read(path)
            except SoundError as error:
                summary.skipped.append((path, str(error)))
                continue
            mixed += [str(path)] if recording.channels > 1 else []
            if missing:
                frames = voices.heard(recording)
            for place, target in missing:
                samples = voices.spoken(voices.frames(frames, target, labels), recording.rate, len(recording.samples))
                try:
                    write_whole(place, encode(samples, recording.rate))
                except OSError as error:
                    raise unwritable(place, error) from error
                summary.written.append(place)
            tell(number, len(sources))
    if passed:
        summary.notes.append(some(passed, "other files, ignored"))
    if mixed:
        summary.notes.append(some(mixed, "recordings of several channels, mixed down to one"))
    return summary


def are_features(inputs: Sequence[Path]) -> bool:
    """Say whether the inputs are features, arrays in files or folders of them, and none is a recording."""
    files = [file for path in inputs for file in (path.rglob("*") if path.is_dir() else [path])]
    return any(file.suffix.lower() == ".npy" for file in files) and not any(map(is_recording, files))
