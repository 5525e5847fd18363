"""Write pictures of codes that sums describe, and the way from one code to the next as strip, GIF, video or frames."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.folder import FolderError, Summary
from asterism.inference.generated_files import write_latents
from asterism.inference.generator import decoded, told_of
from asterism.inference.images import to_array
from asterism.inference.on_manifold import OnManifold
from asterism.inference.sequence import ENDINGS, check_kind, write_sequence
from asterism.manifold.spaces import Ball, along

KINDS = {ending: kind for kind, ending in ENDINGS.items()}
"""What the ending of a file says of a sequence; none: a folder of frames."""


def write_codes_as_pictures(
    model: OnManifold,
    names: Sequence[str],
    z: Tensor,
    out: str | os.PathLike[str] | None = None,
    *,
    to: str | Mapping[str, Any] | None = None,
    sheet: str | os.PathLike[str] | None = None,
    format: str | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write the picture of each latent into a folder, all in a row onto a sheet, or both.

    Args:
        names: of the files, one each; what file systems do not take becomes `_`.
        z: latents [N, Z].
        out, to, sheet, format, batch_size, overwrite: as for `generate_files`.

    Raises:
        As `generate_files`.
    """
    named = [(re.sub(r"[^\w.+=-]+", "_", name), name) for name in names]
    options: dict[str, Any] = {"format": format, "batch_size": batch_size, "overwrite": overwrite}
    return write_latents(model, z, named, [(told_of(model, to), (), "")], out, sheet=sheet, columns=len(z), **options)


def write_way(
    model: OnManifold,
    z: Tensor,
    file: str | os.PathLike[str],
    *,
    to: str | Mapping[str, Any] | None = None,
    steps: int = 8,
    fps: float = 12,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write the way from each latent to the next, which is spherical, since latents are drawn from a normal distribution.

    Args:
        z: two or more latents [N, Z], in order.
        file: .png for a strip, .gif, .mp4, or a folder of frames.
        steps: from each to the next; both ends are shown.
        fps: frames per second, of films.

    Raises:
        ConfigError: fewer than two latents, no steps, or an ending that says no kind of sequence.
        FolderError: a file that is there already.
    """
    file, picture = Path(file), model.model.picture
    if len(z) < 2 or steps < 1:
        raise ConfigError(f"a way leads through two or more codes in one or more steps each; given {len(z)} and {steps}")
    if file.suffix.lower() not in KINDS:
        raise ConfigError(f"a way is written as .png, .gif or .mp4, or into a folder; {file} has another ending")
    kind = KINDS[file.suffix.lower()]
    check_kind(kind, fps)
    if file.exists() and not overwrite:
        raise FolderError(f"{file} would be replaced: give another name, or say --overwrite")
    space, told = Ball(z.shape[1]), told_of(model, to)
    codes = torch.cat([along(space, a, b, steps + 1)[:-1] for a, b in zip(z[:-1], z[1:], strict=True)] + [z[-1:]])
    arrays = (to_array(y, picture) for y in decoded(model, codes, told, batch_size))
    first = next(arrays)
    frames = arrays if kind == "strip" else (array for part in ([first], arrays) for array in part)
    return Summary(write_sequence(file, frames, picture, kind, side=None, fps=fps, first=first))
