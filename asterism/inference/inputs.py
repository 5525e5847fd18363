"""Which pictures a command is given, and what their results are called."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from asterism.data.listing import list_pictures
from asterism.data.pairs import name_of_pair
from asterism.data.pictures import PictureError, PictureFormat, probe
from asterism.inference.outcome import FolderError
from asterism.inference.placed import PlacedModel
from asterism.shards import Shards, is_shards
from asterism.sound.recordings import SUFFIXES as RECORDINGS
from asterism.sound.recordings import is_recording
from asterism.tables.names import SUFFIXES
from asterism.wording import some

F = TypeVar("F", str, Path)
"""A file: its path here, or its address in a store."""

LONGEST = 230
"""Bytes of a result's name: file systems take 255, of which the name while it is written takes some more."""


def find_pictures(
    inputs: Sequence[Path], out: Path | None = None, passed: list[str] | None = None, sounds: bool = False
) -> list[tuple[Path, str]]:
    """Return the pictures among the inputs, below them and in shards, sorted, each with its result's name without suffix.

    Folders are searched as those of training data are: links are followed; hidden files, what archives leave behind, and
    files that are no pictures by their suffix are passed over. So is what lies below `out`. Results that would have one name
    are called after their input too, or after their suffix.

    Args:
        out: where results are written; none: nowhere.
        passed: to which what is passed over is added, hidden files left out.
        sounds: find recordings in place of pictures.

    Raises:
        FolderError: an input that is not there, a folder without pictures, or `out` being an input folder.
    """
    found: dict[Path, list[str]] = {}  # File -> names from short to long.
    for given in inputs:
        if is_shards(given):
            shards = Shards.open(given, probe)
            for name in shards.files:
                plain = PurePosixPath(name).with_suffix("").as_posix()
                found.setdefault(Path(shards.root) / name, [plain, f"{shards.name}/{plain}"])
            continue
        if given.is_file():
            found.setdefault(given, [given.stem, f"{given.absolute().parent.name}/{given.stem}"])
            continue
        if not given.is_dir():
            raise FolderError(f"there is no file or folder {given}")
        if out and given.resolve() == out.resolve():
            raise FolderError(f"{out} is both read and written: give the results a folder of their own")
        listing = list_pictures(given)
        held = [name for name in listing.others if is_recording(name)] if sounds else listing.pictures
        below = [name for name in held if not out or out.resolve() not in (given / name).resolve().parents]
        if passed is not None:
            rest = sorted({*listing.pictures, *listing.others} - {*held})
            passed += [str(given / name) for name in rest if not PurePosixPath(name).name.startswith(".")]
        if not below:
            what, endings = ("recordings", RECORDINGS) if sounds else ("pictures", SUFFIXES)
            raise FolderError(f"{given} holds no {what} ({' '.join(endings)})")
        for name in below:
            plain = PurePosixPath(name).with_suffix("").as_posix()
            found.setdefault(given / name, [plain, f"{given.absolute().name}/{plain}"])
    names = {file: plain for file, (plain, _) in found.items()}
    return list(told_apart(names, {file: longer for file, (_, longer) in found.items()}).items())


def told_apart(names: Mapping[F, str], longer: Mapping[F, str]) -> dict[F, str]:
    """Return the names of files' results, each of its own: where several would have one, after `longer`, suffix or path."""
    own = dict(names)
    for name_of in (
        lambda file: longer[file],
        lambda file: f"{own[file]}_{PurePosixPath(file).suffix[1:]}",
        lambda file: f"{own[file]}-{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}",
    ):
        _tell_apart(own, name_of)
    return own


def of_several_frames(files: Sequence[Path]) -> dict[Path, int]:
    """Return those files that hold several frames, and how many."""
    found = {}
    for file in files:
        if file.suffix.lower() in (".gif", ".png", ".apng", ".webp"):
            with suppress(PictureError):
                found[file] = probe(file).frames
    return {file: count for file, count in found.items() if count > 1}


def _tell_apart(names: dict[F, str], longer: Callable[[F], str]) -> None:
    """Replace names that several files have by longer ones, where these are told apart by them."""
    same = defaultdict(list)
    for file, name in names.items():
        same[name.casefold()].append(file)  # Some file systems do not tell cases apart.
    for files in same.values():
        own = [longer(file) for file in files]
        if len(files) > 1 and len({name.casefold() for name in own}) > 1:
            names |= dict(zip(files, own, strict=True))


def result_path(out: Path, name: str, ending: str) -> Path:
    """Return the file of a result; a name that is too long for a file system is shortened and told apart by a hash."""
    folder, last = (out / name).parent, PurePosixPath(name).name
    room = LONGEST - len(os.fsencode(ending))
    if len(os.fsencode(last)) > room:
        digest = hashlib.sha256(os.fsencode(last)).hexdigest()[:8]
        last = os.fsencode(last)[: max(8, room - 9)].decode(errors="ignore") + f"~{digest}"
    return folder / f"{last}{ending}"


def find_instances(
    picture: PictureFormat, folder: str | os.PathLike[str] | None, sources: Sequence[tuple[Path, str]]
) -> list[Path | None]:
    """Return each source's instance map, none of each where no folder of them is named.

    Args:
        sources: as `find_pictures` returns them.

    Raises:
        FolderError: the model takes none, or one is missing.
    """
    if folder is None:
        return [None] * len(sources)
    if picture.taken.classes == 0 or picture.taken.channels == 1:
        raise FolderError("this model takes no instance maps: leave out --instances")

    def key(path: Path, name: str) -> tuple[str, str]:
        return name.rpartition("/")[0], name_of_pair(path.name)

    held = {key(path, name): path for path, name in find_pictures([Path(folder)])}
    found = [held.get(key(path, name)) for path, name in sources]
    if missing := [name for (_, name), ids in zip(sources, found, strict=True) if ids is None]:
        raise FolderError(
            f"{folder} holds no instance map for {some(missing, 'label maps')}; add one of the same name for each"
        )
    return found


def find_masks(placed: PlacedModel, folders: Sequence[Path], names: Sequence[str]) -> list[list[Path]]:
    """Return each picture's mask files; raise FolderError where one is missing or the model takes none."""
    if not folders:
        return []
    if len(folders) > 2 or not all(folder.is_dir() for folder in folders):
        given = ", ".join(map(str, folders))
        raise FolderError(f"expected one folder of masks, or two (for the coarsest skip and for the others); given: {given}")
    if not placed.recipe.abilities.masks:
        raise FolderError("this model takes no masks: leave out --masks")
    found, missing = [], []
    for name in names:
        files = [next((f for s in SUFFIXES if (f := folder / f"{name}{s}").is_file()), None) for folder in folders]
        missing += [folder / name for folder, file in zip(folders, files, strict=True) if file is None]
        found.append([file for file in files if file])
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise FolderError(
            f"no mask {', '.join(f'{m}.png' for m in missing[:3])}{more}: each picture needs one of the same name"
        )
    return found
