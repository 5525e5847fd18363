"""Read tensors from TensorFlow's checkpoints, `NAME.index` and `NAME.data-0000i-of-0000n`, without TensorFlow.

The index is a sorted table in LevelDB's format: blocks of (key, value) with common prefixes of keys left out, then a block that
lists the blocks, then a footer that says where that list is. Keys are names of tensors. Values are protocol buffers, which say
type, shape, and where in which data file the raw numbers lie. Nothing in these files is code. Checksums are not compared.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.storage.model_file import ModelError

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER = 48
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""TensorFlow's numbers of types; tensors of others, such as texts, are left out."""


def is_checkpoint(path: Path) -> bool:
    """Say whether a path names a file of such a checkpoint, or a checkpoint without any suffix."""
    return prefix_of(path).with_name(prefix_of(path).name + ".index").is_file()


def prefix_of(path: Path) -> Path:
    """Return the name that the files of a checkpoint begin with."""
    return path.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint, which any of its files names: its tensors by name, in TensorFlow's layout.

    Raises:
        ModelError: a file that is missing, damaged, or of another kind.
    """
    prefix = prefix_of(path)
    index, data = prefix.with_name(prefix.name + ".index"), dict[int, bytes]()
    tensors: dict[str, Tensor] = {}
    try:
        entries = dict(_table(index.read_bytes()))
        shards = dict(_fields(entries.pop(b""))).get(1, 1)
        for name, value in entries.items():
            entry = dict(_fields(value))
            kind, shard, begin, size = (entry.get(field, 0) for field in (1, 3, 4, 5))
            shape = [dict(_fields(v)).get(1, 0) for field, v in _fields(entry.get(2, b"")) if field == 2]
            if kind not in TYPES:
                continue
            if shard not in data:
                data[shard] = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").read_bytes()
            raw = data[shard][begin : begin + size]
            if len(raw) != size or size != math.prod(shape) * np.dtype(TYPES[kind]).itemsize:
                raise ValueError(f"the tensor {name.decode()} is not whole")
            tensors[name.decode()] = torch.from_numpy(np.frombuffer(raw, TYPES[kind]).reshape(shape).copy())
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {error.filename}; a checkpoint is NAME.index and its NAME.data files") from None
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise ModelError(f"{index} is no whole checkpoint of TensorFlow ({error}); download its files again") from error
    return tensors


def _table(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted table."""
    if file[-len(MAGIC) :] != MAGIC:
        raise ValueError("it does not end as an index does")
    place = len(file) - FOOTER
    for _ in range(3):  # Over offset and size of the block of metadata, to the offset of the list of blocks.
        start, place = _varint(file, place)
    for _, handle in _block(file, start, _varint(file, place)[0]):
        begin, place = _varint(handle, 0)
        yield from _block(file, begin, _varint(handle, place)[0])


def _block(file: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of one block."""
    if file[start + size] != 0:
        raise ValueError("it is compressed")
    block = file[start : start + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]  # Behind the entries stand places to start from, and their number.
    place, key = 0, b""
    while place < end:
        common, place = _varint(block, place)
        own, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:common] + block[place : place + own]
        yield key, block[place + own : place + own + length]
        place += own + length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of the fields of a protocol buffer."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 == 0:
            value, place = _varint(message, place)
            yield tag >> 3, value
        else:
            length, place = _varint(message, place) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], place)
            yield tag >> 3, message[place : place + length]
            place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
