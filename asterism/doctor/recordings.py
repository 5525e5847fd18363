"""Examine recordings before they are packed: rates, durations, clipping, silence, copies, how much each speaker says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.folder import read_folder
from asterism.data.listing import SPLITS, DataError, Listing, some
from asterism.doctor.examine import DatasetReport, Diagnosis, count_labels
from asterism.sound.clips import all_frames
from asterism.sound.recordings import Recording
from asterism.sound.settings import Array, Sound, SoundError
from asterism.wording import duration

CLIPPED = 1e-3
"""A recording is called clipped if more of its samples than this stand at full scale."""

SILENT = 0.5
"""A recording is called mostly silent if more of it than this is cut off its ends."""

LITTLE = 60.0
"""Seconds of training speech; a speaker who says less is named."""

ALIKE = 0.95
"""Correlation of two recordings' coarse spectrograms above which they are called alike."""

COARSE = (40, 32)
"""Rows and columns of a coarse spectrogram."""

DEPTH = 2.5
"""Decades below the loudest band, 50 dB, where a coarse spectrogram ends: what is quieter, codecs leave out."""

LONG = 10
"""A recording is called long if it is this many times as long as most; a pack gives every one the room of the longest."""


def examine_recordings(
    config: DataConfig, listings: Sequence[Listing | None], progress: Callable[[int, int], None] = lambda done, total: None
) -> Diagnosis:
    """Read and decode every recording that `config` names; bad data is reported, never raised.

    Args:
        listings: of each source.
        progress: told (recordings done, recordings in all).
    """
    diagnosis, collections = Diagnosis(), list[Collection]()
    for source, listing in zip(config.sources, listings, strict=True):
        try:
            if listing is None:
                raise DataError(f"{source} holds no recordings, and other data are recordings: examine them apart")
            collections.append(read_folder(Path(source).expanduser(), config, listing))
        except DataError as error:
            diagnosis.problems.append(str(error))
    total, done = sum(len(collection.files) for collection in collections), 0
    for collection in collections:
        found = _Found(collection)
        paths = [collection.root / name for name in collection.files]
        for name, (_, made) in zip(collection.files, all_frames(paths, Sound()), strict=True):
            found.add(name, made)
            done += 1
            progress(done, total)
        diagnosis.datasets.append(found.report())
        diagnosis.warnings += [f"{collection.name}: {text}" for text in found.warnings()]
        diagnosis.problems += [f"{collection.name}: {text}" for text in found.problems()]
    return diagnosis


class _Found:
    """What the recordings of a data set are, as they are decoded."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.unreadable: list[tuple[str, str]] = []
        self.seconds: dict[str, float] = {}
        self.spoken: dict[str, float] = {}
        self.formats = Counter[str]()
        self.clipped: dict[str, float] = {}
        self.dull: list[str] = []
        self.coarse: dict[str, Array] = {}
        self.quiet, self.loud = np.inf, -np.inf

    def add(self, name: str, made: tuple[Recording, Array] | SoundError) -> None:
        """Take in a decoded recording, or why it cannot be used."""
        if isinstance(made, SoundError):
            self.unreadable.append((name, str(made)))
            return
        recording, frames = made
        self.seconds[name], self.spoken[name] = recording.seconds, Sound().seconds(frames.shape[1])
        self.formats[f"{recording.rate:,} samples a second, {recording.channels} channel{'s' * (recording.channels > 1)}"] += 1
        self.clipped[name] = recording.clipped
        self.dull += [f"{name} {recording.rate:,}"] if recording.rate < Sound().rate else []
        self.quiet = min(self.quiet, float(recording.samples.min()))
        self.loud = max(self.loud, float(recording.samples.max()))
        self.coarse[name] = coarse(frames)

    def report(self) -> DatasetReport:
        """Return the facts; sizes are durations."""
        collection = self.collection
        readable = np.array([name in self.seconds for name in collection.files])
        split = np.array(list(collection.split))
        edges = (0.3, 1, 3, 10, 30, np.inf)
        sizes = {
            f"{low:g} to {high:g} s" if high < np.inf else f"more than {low:g} s": count
            for low, high in zip(edges[:-1], edges[1:], strict=True)
            if (count := sum(low <= seconds < high for seconds in self.seconds.values()))
        }
        spoken = {speaker: duration(seconds) for speaker, seconds in self.by_speaker().items()}
        return DatasetReport(
            name=collection.name,
            what="recordings",
            root=str(collection.root),
            pictures={name: int((readable & (split == name)).sum()) for name in SPLITS},
            labels=count_labels(collection, readable),
            sizes=sizes,
            formats=dict(self.formats.most_common()),
            values=[self.quiet, self.loud] if self.seconds else [],
            clipped=float(np.mean([*self.clipped.values()])) if self.clipped else 0.0,
            unreadable=self.unreadable,
            missing=[],
            unknown=0,
            unlabelled=collection.unlabelled,
            stray=collection.stray,
            notes=[*collection.notes, f"training speech: {', '.join(f'{name} {text}' for name, text in spoken.items())}"],
        )

    def by_speaker(self) -> dict[str, float]:
        """Return the seconds of training speech of each speaker, without silence."""
        labels = self.collection.groups[0].labels
        said = dict.fromkeys(labels, 0.0)
        for row, name in enumerate(self.collection.files):
            if name in self.spoken and self.collection.split[row] == "train":
                said[labels[int(self.collection.labels[row].argmax())]] += self.spoken[name]
        return said

    def problems(self) -> list[str]:
        """Say what keeps training from starting."""
        return [f"{name} has no training recording that can be used" for name, held in self.by_speaker().items() if not held]

    def warnings(self) -> list[str]:
        """Say what may spoil training."""
        found = [f"no {split} recordings" for split in ("val", "test") if split not in self.collection.split]
        lists = (
            ([name for name, _ in self.unreadable], "recordings that cannot be used, left out"),
            ([f"{name} {share:.1%}" for name, share in self.clipped.items() if share > CLIPPED], "clipped recordings"),
            (
                [name for name, held in self.seconds.items() if self.spoken[name] < (1 - SILENT) * held],
                "recordings that are mostly silent",
            ),
            (
                [f"{name} {duration(held)}" for name, held in self.by_speaker().items() if 0 < held < LITTLE],
                f"speakers with less than {LITTLE:g} s of training speech",
            ),
            (self.alike(), "recordings that sound the same"),
            (self.dull, f"recordings of fewer than {Sound().rate:,} samples a second, whose upper bands are empty"),
            (
                self.long(),
                f"recordings more than {LONG} times as long as most, which is the room that each takes in a pack: cut them",
            ),
        )
        return found + [some(names, what) for names, what in lists if names]

    def long(self) -> list[str]:
        """Return the recordings that are far longer than most."""
        usual = float(np.median([*self.spoken.values()])) if self.spoken else 0.0
        return [f"{name} {duration(held)}" for name, held in self.spoken.items() if held > LONG * usual]

    def alike(self) -> list[str]:
        """Return pairs of recordings that are nearly the same, such as copies in another format."""
        names = list(self.coarse)
        held = np.stack([*self.coarse.values()]) if names else np.zeros((0, 1))
        lengths = np.array([self.spoken[name] for name in names])
        found = []
        for row, name in enumerate(names):
            near = (held[row + 1 :] @ held[row] > ALIKE) & (np.abs(lengths[row + 1 :] - lengths[row]) < 0.02 * lengths[row])
            found += [f"{name} = {names[row + 1 + int(other)]}" for other in np.flatnonzero(near)]
        return found


def coarse(frames: Array) -> Array:
    """Return the coarse spectrogram of a log-mel [B, n] as a vector of length 1, float32 [rows * columns].

    Each cell is a mean. The mean of each row is taken off: what a speaker always sounds like says nothing of the words.
    """
    edges = [np.linspace(0, size, parts + 1).astype(int) for size, parts in zip(frames.shape, COARSE, strict=True)]
    cells = np.maximum(frames, frames.max() - DEPTH).astype(np.float64)
    for axis, edge in enumerate(edges):
        cells = np.add.reduceat(cells, edge[:-1], axis) / np.expand_dims(np.diff(edge), 1 - axis)
    cells -= cells.mean(1, keepdims=True)
    return (cells / max(1e-9, float(np.linalg.norm(cells)))).astype(np.float32).ravel()
