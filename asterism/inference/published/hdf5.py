"""Read the arrays of an HDF5 file that Keras wrote, and nothing else in it.

A Keras file also holds its network's configuration, in which a Lambda layer is stored Python bytecode. Nothing here looks at
attributes: groups are followed, arrays are read. What is understood is what Keras 2 and h5py write by default: format 0,
groups as symbol tables, contiguous floats of 32 or 64 bits (HDF5 File Format Specification, version 1.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asterism.storage.model_file import ModelError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DATASPACE, DATATYPE, LAYOUT, CONTINUATION, SYMBOL_TABLE = 0x01, 0x03, 0x08, 0x10, 0x11
FLOATS = {4: "f4", 8: "f8"}
MOST_MESSAGES = 4096
"""Of one object: no file that Keras wrote comes near; a damaged one may run in circles."""


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Return every array of floats by its path in the file, `group/group/name`.

    Raises:
        ModelError: no such file, not HDF5, damaged, or of a kind that Keras does not write.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if not data.startswith(SIGNATURE):
        raise ModelError(f"{path} is not an HDF5 file, such as Keras writes")
    try:
        if data[8] != 0 or data[13:15] != b"\x08\x08":
            raise ValueError(f"its format is {data[8]}, and only 0 is read")
        (root,) = struct.unpack_from("<Q", data, 64)
        return dict(_walk(data, root, "", set()))
    except (struct.error, ValueError, IndexError) as error:
        raise ModelError(f"{path} is damaged, or not as Keras writes it: {error}") from error


def _walk(data: bytes, header: int, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Yield the arrays at and below the object whose header is there; `seen` holds the places that were read."""
    _once(header, seen)
    messages = dict(_messages(data, header))
    if SYMBOL_TABLE in messages:
        tree, heap = struct.unpack_from("<QQ", data, messages[SYMBOL_TABLE])
        (names,) = struct.unpack_from("<Q", _block(data, heap, b"HEAP", 32), 24)
        for name, child in _entries(data, tree, names, seen):
            yield from _walk(data, child, f"{path}/{name}".lstrip("/"), seen)
    elif LAYOUT in messages and data[messages[DATATYPE]] & 15 == 1:  # Floats; texts and whole numbers are no weights.
        yield path, _array(data, messages, path)


def _messages(data: bytes, header: int) -> Iterator[tuple[int, int]]:
    """Yield the kinds of an object's messages, and where their content begins."""
    version, _, _, _, size = struct.unpack_from("<BBHII", data, header)
    if version != 1:
        raise ValueError(f"an object's header is of version {version}, and only 1 is read")
    blocks, seen = [(header + 16, size)], 0
    while blocks:
        at, length = blocks.pop()
        end = at + length
        while at + 8 <= end:
            kind, size = struct.unpack_from("<HH", data, at)
            if kind == CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", data, at + 8))
            yield kind, at + 8
            at, seen = at + 8 + size, seen + 1
            if seen > MOST_MESSAGES:
                raise ValueError("an object has no end")


def _entries(data: bytes, node: int, names: int, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Yield names and header addresses of a group's members."""
    _once(node, seen)
    if data[node : node + 4] == b"SNOD":
        for place in range(struct.unpack_from("<H", data, node + 6)[0]):
            offset, header = struct.unpack_from("<QQ", data, node + 8 + 40 * place)
            yield data[names + offset : data.index(b"\0", names + offset)].decode(), header
        return
    (used,) = struct.unpack_from("<H", _block(data, node, b"TREE", 8), 6)
    for place in range(used):
        (child,) = struct.unpack_from("<Q", data, node + 32 + 16 * place)
        yield from _entries(data, child, names, seen)


def _once(place: int, seen: set[int]) -> None:
    if place in seen:
        raise ValueError(f"byte {place} belongs to two objects")
    seen.add(place)


def _block(data: bytes, at: int, signature: bytes, size: int) -> bytes:
    if data[at : at + 4] != signature:
        raise ValueError(f"there is no {signature.decode()} at byte {at}")
    return data[at : at + size]


def _array(data: bytes, messages: dict[int, int], path: str) -> Tensor:
    kind = messages[DATATYPE]
    order = ">" if data[kind + 1] & 1 else "<"
    (size,) = struct.unpack_from("<I", data, kind + 4)
    version, rank = data[messages[DATASPACE]], data[messages[DATASPACE] + 1]
    shape = struct.unpack_from(f"<{rank}Q", data, messages[DATASPACE] + (8 if version == 1 else 4))
    layout = messages[LAYOUT]
    if size not in FLOATS or tuple(data[layout : layout + 2]) != (3, 1):
        raise ValueError(f"{path} is compressed, in pieces, or of an unknown kind of number")
    start, length = struct.unpack_from("<QQ", data, layout + 2)
    if length != size * prod(shape) or start + length > len(data):
        raise ValueError(f"{path} does not lie within the file")
    values = np.frombuffer(data, f"{order}{FLOATS[size]}", prod(shape), start)
    return torch.from_numpy(values.astype("f4")).reshape(shape)
