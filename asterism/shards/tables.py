"""Pictures in columns: Parquet files, and the Arrow files of folders that Hugging Face's `datasets` saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from asterism.errors import DataError
from asterism.shards.labels import Cells, as_cell
from asterism.shards.places import is_url
from asterism.tables.names import is_picture

LIKELY = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "bytes", "content")
"""Names of columns of bytes that are pictures, in this order, where no type says so."""

ROWS = 64
"""Rows that are held at once."""

MAGIC = {b"\x93NUMPY": ".npy", b"II*\0": ".tif", b"MM\0*": ".tif", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif"}
"""How the content of files begins that have no name; others are taken for PNG, of which Pillow makes sure."""

Picture = tuple[str, bytes | None, int | None, Cells]
"""Name, content, where it lies in the file if it lies there as it is, and the cells of the other columns."""


def holds_pictures(file: str) -> bool:
    """Say whether a local Parquet or Arrow file has a column of pictures; without pyarrow none does."""
    try:
        import pyarrow

        with open(file, "rb") as opened, _schema_and_rows(opened, file, pyarrow) as (schema, _, _):
            return bool(_picture_columns(schema, pyarrow))
    except (ImportError, OSError, ValueError):
        return False


def pictures_of(opened: IO[bytes], url: str, notes: list[str]) -> Iterator[Picture]:
    """Yield the pictures of an opened Parquet or Arrow file with their labels, in the order of its rows.

    Args:
        notes: to which sentences on what is not read are added.

    Raises:
        DataError: no pyarrow, or no column of pictures.
        ValueError, OSError: a damaged file.
    """
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"{url} is read by pyarrow, which is not installed: pip install 'asterism[shards]'") from None
    with _schema_and_rows(opened, url, pyarrow) as (schema, batches, mapped):
        columns, classes = _picture_columns(schema, pyarrow), _class_names(schema)
        if not columns:
            raise DataError(
                f"{url} has no column of pictures (bytes, or Hugging Face's Image); it has {', '.join(schema.names)}. A table "
                "that names files lies in a folder with these"
            )
        chosen, *others = columns
        if others:
            notes.append(f"of several columns of pictures {chosen} is read, and not {', '.join(others)}")
        row = 0
        for batch in batches:
            cells = {
                name: [as_cell(value, classes.get(name)) for value in batch.column(name).to_pylist()]
                for name in schema.names
                if name not in columns and not pyarrow.types.is_binary(schema.field(name).type)
            }
            held = batch.column(chosen)
            places = _places(held, mapped)
            for at, value in enumerate(held.to_pylist()):
                content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
                own = {name: words[at] for name, words in cells.items()}
                yield f"{row:09}{_ending(content, path)}", content, None if places is None else places[at], own
                row += 1


@contextmanager
def _schema_and_rows(opened: IO[bytes], name: str, pyarrow: Any) -> Iterator[tuple[Any, Iterator[Any], tuple[int, int] | None]]:
    """Yield the schema, the rows in batches, and the first and last address of a local Arrow file, of which these are views."""
    if name.endswith(".parquet"):
        from pyarrow import parquet

        file = parquet.ParquetFile(opened)
        yield file.schema_arrow, file.iter_batches(batch_size=ROWS), None
        return
    source, mapped = opened, None
    if not is_url(name):
        source = pyarrow.memory_map(name)
        whole = source.read_buffer(source.size())
        mapped = whole.address, whole.address + whole.size
        source.seek(0)
    try:
        stream = pyarrow.ipc.open_stream(source)
        schema, batches = stream.schema, iter(stream)
    except pyarrow.ArrowInvalid:  # Not a stream: Arrow's other format, whose batches have a table of contents.
        source.seek(0)
        file = pyarrow.ipc.open_file(source)
        schema, batches = file.schema, (file.get_batch(i) for i in range(file.num_record_batches))
    yield schema, batches, mapped


def _picture_columns(schema: Any, pyarrow: Any) -> list[str]:
    """Return the columns of pictures: those of Hugging Face's type Image, structs of bytes, or bytes with a likely name."""

    def is_bytes(kind: Any) -> bool:
        return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)

    features = _features(schema)
    if typed := [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]:
        return typed
    structs = [
        field.name
        for field in schema
        if pyarrow.types.is_struct(field.type)
        and (at := field.type.get_field_index("bytes")) >= 0
        and is_bytes(field.type.field(at).type)
        and features.get(field.name, {}).get("_type") in (None, "Image")
    ]
    plain = {field.name.lower(): field.name for field in schema if is_bytes(field.type)}
    return structs or [plain[name] for name in LIKELY if name in plain]


def _features(schema: Any) -> dict[str, Any]:
    held = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return held if isinstance(held, dict) else {}


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the values of Hugging Face's columns of classes."""
    features = {name: kind.get("feature", kind) for name, kind in _features(schema).items() if isinstance(kind, dict)}
    return {name: kind["names"] for name, kind in features.items() if isinstance(kind, dict) and kind.get("names")}


def _places(held: Any, mapped: tuple[int, int] | None) -> list[int] | None:
    """Return where the bytes of each picture of a batch lie in the mapped file; none where they do not."""
    values = held.field("bytes") if hasattr(held, "field") else held
    _, offsets, content = values.buffers()
    if content is None:  # Nothing but empty cells.
        return [0] * len(values)
    if mapped is None or not mapped[0] <= content.address < mapped[1]:
        return None
    kind = np.int64 if "large" in str(values.type) else np.int32
    starts = np.frombuffer(offsets, kind)[values.offset : values.offset + len(values)]
    return (content.address - mapped[0] + starts.astype(np.int64)).tolist()


def _ending(content: bytes | None, path: str | None) -> str:
    if path and is_picture(path):
        return PurePosixPath(path).suffix.lower()
    return next((ending for magic, ending in MAGIC.items() if (content or b"").startswith(magic)), ".png")
