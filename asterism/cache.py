"""The user's cache: what several commands share, and archives of data, unpacked once.

The folder is `$ASTERISM_CACHE`, else `asterism` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from asterism.errors import AsterismError, DataError


class UnwritableError(AsterismError, OSError):
    """A folder that cannot be written; the message names another way."""


def check_writable(folder: Path, remedy: str) -> None:
    """Make sure, before work is done, that its results can be written to a folder, which is made where it is missing.

    Raises:
        UnwritableError: they cannot; `remedy` says what can be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UnwritableError(f"{folder} cannot be written ({error.strerror}): {remedy}") from error


def cache_folder() -> Path:
    """Return the cache's folder; it may not exist."""
    if own := os.environ.get("ASTERISM_CACHE"):
        return Path(own).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asterism"
    except RuntimeError:  # Nobody knows a home.
        return Path(tempfile.gettempdir()) / "asterism"


def writable_cache(*parts: str) -> Path:
    """Return a folder in the cache, made where it is missing, before work is done that is to be kept there.

    Raises:
        UnwritableError: it cannot be written.
    """
    folder = cache_folder().joinpath(*parts)
    check_writable(folder, "set ASTERISM_CACHE to a folder of your own")
    return folder


def is_archive(path: Path) -> bool:
    """Say whether `path` is a zip or a tar, packed in any way that Python reads."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpacked(path: Path) -> Path:
    """Unpack an archive into the cache, unless that was done, and return the folder that holds its files.

    Folders that hold nothing but one folder are passed. Nothing is written outside the cache, whatever the archive asks for.

    Raises:
        DataError: a damaged, encrypted or empty archive.
        UnwritableError: as `writable_cache`.
    """
    status = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode(errors="surrogateescape")).hexdigest()
    target = cache_folder() / "unpacked" / key[:16]
    if not target.is_dir():
        partial = Path(tempfile.mkdtemp(dir=writable_cache("unpacked")))
        inside = partial / (path.name.strip(".").partition(".")[0] or "data")
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as zipped:
                    zipped.extractall(inside)
            else:
                with tarfile.open(path) as taped:
                    taped.extractall(inside, filter="data")
                    while taped.fileobj and taped.fileobj.read(2**20):  # To the sum at its end, which tells of damage.
                        pass
            if not inside.is_dir() or not any(inside.iterdir()):
                raise DataError(f"{path} is empty: expected pictures, or a table of labels with them")
            try:
                partial.rename(target)
            except OSError:
                if not target.is_dir():  # Else another process was faster.
                    raise
        except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # The disk's; what damaged bytes raise has no number.
                raise
            raise DataError(f"{path} cannot be unpacked ({error}): download it again, or unpack it yourself") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    folder = next(target.iterdir())
    while len(held := [f for f in folder.iterdir() if not f.name.startswith((".", "__MACOSX"))]) == 1 and held[0].is_dir():
        folder = held[0]
    return folder
