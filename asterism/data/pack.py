"""A pack: the pictures of one data set, decoded, cropped and resized once, in one memory-mapped array.

A pack is a folder:

    pack.json      what it holds: the listing of the data set's files, size, depth, and which pictures are broken
    pictures.npy   uint8 or uint16 [M, C, H, W], the values that training would have made of the files
    tables         copies of the data set's label tables, where it has some

Labels and splits are not packed: they are read from the listing and the tables by the code that reads the data set itself,
so a pack understands every option of the data section that the files do, except those that made the pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asterism.data.listing import DataError, Listing
from asterism.data.pictures import Header, PictureError, PictureFormat
from asterism.sound.settings import Sound
from asterism.tables.compact import Words

FORMAT = 1
DESCRIPTION = "pack.json"
PIXELS = "pictures.npy"


@dataclass(frozen=True)
class Pack:
    """The pixels of one data set.

    Args:
        folder: of the pack.
        listing: the files that the data set had.
        table: the copied table that labels come from; none for a folder per domain.
        size, crop: height and width in pixels, and side of the centre crop, that the pictures were fitted by; features are
            packed whole, and the width is that of the widest.
        channels, depth: C, and bits of a stored value.
        files: the pictures whose header could be read, in the order of the array.
        broken: file -> reason, of pictures that cannot be decoded; one that is not among `files` has a broken header.
        pairs: how the data were read as pairs, as `--data.pairs` says it.
        kinds: where pairs lead from pictures of one kind to those of another, both; each has the first of the channels.
        widths, values: of features, the columns of each and its lowest and highest value; shorter ones are padded.
        sound: how recordings became these features, if they did.
    """

    folder: Path
    listing: Listing
    table: str | None
    size: tuple[int, int]
    crop: int
    channels: int
    depth: int
    files: tuple[str, ...]
    broken: dict[str, str]
    pairs: Literal["AtoB", "BtoA", "names"] | None = None
    kinds: PictureFormat | None = None
    widths: tuple[int, ...] = ()
    values: tuple[tuple[float, float], ...] = ()
    sound: Sound | None = None

    @classmethod
    def open(cls, folder: Path) -> Pack:
        """Read a pack's description.

        Raises:
            DataError: an unknown format, or an array that does not fit its description.
        """
        try:
            held: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise DataError(
                    f"{folder} is a pack of format {held['format']}, this version reads {FORMAT}: pack the data again"
                )
            pack = cls(
                folder=folder,
                listing=Listing(folder, held["name"], Words.of(held["pictures"]), held["others"]),
                size=(held["size"][0], held["size"][1]),
                files=tuple(held["files"]),
                **{key: held[key] for key in ("table", "crop", "channels", "depth", "broken")},
                pairs=held.get("pairs"),
                kinds=PictureFormat.from_json(held["kinds"]) if held.get("kinds") else None,
                widths=tuple(held.get("widths", ())),
                values=tuple((low, high) for low, high in held.get("values", ())),
                sound=Sound.from_json(held["sound"]) if held.get("sound") else None,
            )
        except DataError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / DESCRIPTION} is damaged ({error}): pack the data again") from error
        try:
            found = pack.pictures
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / PIXELS} cannot be read ({error}): pack the data again") from error
        wanted = (len(pack.files), pack.channels, *pack.size)
        if found.shape != wanted or found.dtype.itemsize * 8 != pack.depth:
            raise DataError(
                f"{folder / PIXELS} holds {found.dtype} {list(found.shape)}, not the {list(wanted)} of {DESCRIPTION}: pack the "
                "data again"
            )
        return pack

    @cached_property
    def pictures(self) -> np.ndarray[Any, Any]:
        """The pixels [M, C, H, W], memory-mapped."""
        return np.load(self.folder / PIXELS, mmap_mode="r")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {file: place for place, file in enumerate(self.files)}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapping out: another process maps the file itself."""
        return {name: value for name, value in self.__dict__.items() if name not in ("pictures", "_places")}

    def header(self, file: str) -> Header | PictureError:
        """Return what a file's header says now, or said that could not be read."""
        if file not in self._places:
            return PictureError(self.broken.get(file, "the file did not exist when the data were packed"))
        place = self._places[file]
        width, values = (self.widths[place], self.values[place]) if self.widths else (self.size[1], None)
        return Header(width, self.size[0], self.channels, self.depth, values=values)

    def place(self, path: Path) -> int:
        """Return where the picture of a path in the pack is in the array.

        Raises:
            PictureError: it could not be decoded when the data were packed; the reason.
        """
        file = path.relative_to(self.folder).as_posix()
        if file in self.broken:
            raise PictureError(self.broken[file])
        return self._places[file]

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """Return the stored values [C, H, W] of the picture of a path in the pack.

        Raises:
            PictureError: as `place`.
        """
        place = self.place(path)
        return self.pictures[place][:, :, : self.widths[place]] if self.widths else self.pictures[place]


def is_pack(path: Path) -> bool:
    """Say whether this source reads `path`."""
    return (path / DESCRIPTION).is_file() and (path / PIXELS).is_file()
