"""Write packs of recordings: log-mels, normalised over all the training recordings, computed once."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.dataset import join, with_own_names
from asterism.data.folder import read_folder
from asterism.data.listing import DataError, Listing, list_recordings, some
from asterism.data.pack import DESCRIPTION, FORMAT, PIXELS
from asterism.data.pictures import Header, PictureError
from asterism.sound.clips import Statistics, all_frames, repeated
from asterism.sound.mel import normalised
from asterism.sound.settings import Array, Sound, SoundError
from asterism.storage.whole import writing

Packed = list[tuple[Path, int, list[str]]]


@dataclass
class _Part:
    """The recordings of one source: which of all frames each has, or why it has none, and which have several channels."""

    collection: Collection
    listing: Listing
    frames: dict[str, slice] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    several: list[str] = field(default_factory=list)

    def mixed(self) -> list[str]:
        """Return what was done with several channels, as a sentence, or nothing."""
        return [some(self.several, "recordings of several channels, mixed down to one")] if self.several else []


def places(out: Path, names: Sequence[str]) -> list[Path]:
    """Return where the packs of so many data sets are written.

    Raises:
        DataError: something is there already.
    """
    targets = [out] if len(names) == 1 else [out / name for name in names]
    for target in targets:
        if target.exists():
            raise DataError(f"{target} already exists, and packs never replace files: give another --out")
    return targets


def pack_recordings(config: DataConfig, out: Path, progress: Callable[[int, int], None], say: Callable[[str], None]) -> Packed:
    """Write a pack for each source, a folder of recordings for each speaker; arguments and result are those of `pack`.

    Recordings are mixed down, resampled and cut where they are silent at both ends; what is shorter than the columns of
    `config.size` is repeated in time. Of all training recordings of all sources together every band has mean 0 and deviation 1.

    Raises:
        DataError: fewer than two speakers, or one without training recordings; a source without recordings; `out` is there.
    """
    sound, parts = Sound(), []
    config = replace(config, size=(sound.bands, config.size[1]), crop=0)
    for source in config.sources:
        listing = list_recordings(Path(source).expanduser())
        if listing is None:
            raise DataError(f"{source} holds no recordings, and other data of this pack are recordings: pack them apart")
        parts.append(_Part(read_folder(Path(source).expanduser(), config, listing), listing))
    named = with_own_names([part.collection for part in parts])
    parts = [replace(part, collection=collection) for part, collection in zip(parts, named, strict=True)]
    targets = places(out, [part.collection.name for part in parts])
    targets[0].parent.mkdir(parents=True, exist_ok=True)
    statistics, results = Statistics(sound.bands), []
    total, done = sum(len(part.collection.files) for part in parts), itertools.count(1)
    with tempfile.TemporaryFile(dir=targets[0].parent) as file:
        for part in parts:
            _decode(part, sound, config.size[1], file, statistics, lambda: progress(next(done), total))
        if not statistics.count:
            reasons = [f"{name}: {why}" for part in parts for name, why in part.broken.items()]
            raise DataError(f"no training recording can be used; {some(reasons, 'those that cannot')}")
        file.flush()
        mean, deviation = statistics.result()
        sound = replace(sound, mean=mean, deviation=deviation)
        frames = np.memmap(file, np.float32, "r").reshape(-1, sound.bands)
        headers = [[_header(part, name, frames, sound) for name in part.collection.files] for part in parts]
        join([part.collection for part in parts], headers, config)  # Says what training on these data would.
        for part, target, held in zip(parts, targets, headers, strict=True):
            for remark in [*part.collection.remarks(), *part.mixed()]:
                say(f"{part.collection.name}: {remark}")
            with writing(target, sync=True) as partial:
                partial.mkdir()
                _write(partial, part, held, frames, sound)
            size = sum(f.stat().st_size for f in target.iterdir())
            results.append((target, size, [f"{name}: {reason}" for name, reason in part.broken.items()]))
    return results


def _decode(part: _Part, sound: Sound, least: int, file: IO[bytes], statistics: Statistics, told: Callable[[], None]) -> None:
    """Append the frames [n, B] of every recording to a file, not normalised, and count those of training."""
    collection, row_bytes = part.collection, 4 * sound.bands
    paths = [collection.root / name for name in collection.files]
    split = dict(zip(collection.files, collection.split, strict=True))
    for name, (_, made) in zip(collection.files, all_frames(paths, sound, told), strict=True):
        if isinstance(made, SoundError):
            part.broken[name] = str(made)
            continue
        recording, frames = made
        part.several += [name] if recording.channels > 1 else []
        if split[name] == "train":
            statistics.add(frames)
        frames = repeated(frames, least)
        first = file.tell() // row_bytes
        part.frames[name] = slice(first, first + frames.shape[1])
        file.write(np.ascontiguousarray(frames.T).tobytes())


def _features(part: _Part, name: str, frames: Array, sound: Sound) -> Array:
    """Return the normalised log-mel of a recording, float32 [B, n]."""
    return np.ascontiguousarray(normalised(frames[part.frames[name]].T, sound))


def _header(part: _Part, name: str, frames: Array, sound: Sound) -> Header | PictureError:
    if name in part.broken:
        return PictureError(part.broken[name])
    made = _features(part, name, frames, sound)
    return Header(made.shape[1], sound.bands, 1, 32, values=(float(made.min()), float(made.max())))


def _write(folder: Path, part: _Part, headers: Sequence[Header | PictureError], frames: Array, sound: Sound) -> None:
    """Write the two files of a pack."""
    files = list(part.frames)
    good = [header for header in headers if isinstance(header, Header)]
    widest = max(header.width for header in good)
    with open(folder / PIXELS, "wb") as file:
        shape = (len(files), 1, sound.bands, widest)
        description: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, description)
        for name in files:
            made = _features(part, name, frames, sound)
            file.write(np.pad(made, ((0, 0), (0, widest - made.shape[1])), mode="edge").astype("<f4").tobytes())
    about = {
        "format": FORMAT,
        "name": part.listing.name,
        "table": None,
        "size": [sound.bands, widest],
        "crop": 0,
        "channels": 1,
        "depth": 32,
        "files": files,
        "broken": part.broken,
        "pictures": list(part.listing.pictures),
        "others": part.listing.others,
        "widths": [header.width for header in good],
        "values": [list(header.values or ()) for header in good],
        "sound": asdict(sound),
    }
    (folder / DESCRIPTION).write_text(json.dumps(about), encoding="utf-8")
