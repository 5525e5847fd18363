"""Write generated pictures: one file each, or all as one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.codes import Chosen, chosen_codes, in_words, traversed, written
from asterism.inference.decoding import moved
from asterism.inference.fast_png import write_result
from asterism.inference.folder import FolderError, Summary, check_results, suffix_for
from asterism.inference.generator import chosen_seeds, decoded, latents, told_of
from asterism.inference.images import to_array
from asterism.inference.on_manifold import OnManifold
from asterism.inference.png_rows import png_rows
from asterism.inference.sheets import MARGIN, row, thumbnail
from asterism.inference.translator import Translator
from asterism.terminal import counting

Variant = tuple[Tensor, Chosen, str]
"""What latents are made with: what is told, [1, ...], the values of codes, and how names of files end."""


def generate_files(
    translator: Translator,
    seeds: Sequence[int],
    out: str | os.PathLike[str] | None = None,
    *,
    to: Sequence[str | Mapping[str, Any]] = (),
    codes: Sequence[str | Mapping[str, float]] = (),
    traverse: str | None = None,
    along: Mapping[str, float] | None = None,
    truncation: float = 1.0,
    sheet: str | os.PathLike[str] | None = None,
    format: str | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write the pictures of seeds into a folder, onto a sheet, or both.

    Args:
        seeds: one picture each, and with several targets, choices of codes or values of a code one for each.
        out: folder of the files `seed7.png`, with targets and codes `seed7__<target>__<codes>.png`.
        to: the targets, as for `generate`.
        along, truncation: as for `OnManifold.generate`.
        codes: choices of codes, each as for `generate`.
        traverse: a code's name: pictures are made with each of its values.
        sheet: a PNG of all the pictures: a square, with several targets or choices a row for each, or of a code that is
            traversed a row for each seed and a column for each value.
        format: suffix of the files (.png .jpg .webp .tif .npy); none takes .png, or .tif for what PNG cannot hold.
        batch_size: pictures at once.
        overwrite: replace files that are there.

    Raises:
        ModelError, LabelError, ConfigError: as for `generate`; or neither a folder nor a sheet is given.
        FolderError: files that are there already, two of one name, or a format that cannot hold the pictures.
    """
    if out is None and sheet is None:
        raise ConfigError(
            "give an output: --out DIR for one file per picture, or --sheet FILE.png for one PNG with all of them"
        )
    seeds = chosen_seeds(None, seeds)
    variants = _variants(translator, to, codes, traverse)
    z = moved(translator, latents(seeds, translator.recipe.abilities.latent), along, truncation)
    columns = math.ceil(math.sqrt(len(seeds))) if len(variants) == 1 else len(seeds)
    return write_latents(
        translator,
        z,
        [(f"seed{seed}", f"seed {seed}") for seed in seeds],
        variants,
        out,
        sheet=sheet,
        columns=columns if traverse is None else len(variants),
        by_latent=traverse is not None,
        format=format,
        batch_size=batch_size,
        overwrite=overwrite,
    )


def write_latents(
    model: OnManifold,
    z: Tensor,
    names: Sequence[tuple[str, str]],
    variants: Sequence[Variant],
    out: str | os.PathLike[str] | None,
    *,
    sheet: str | os.PathLike[str] | None,
    columns: int,
    by_latent: bool = False,
    format: str | None = None,
    batch_size: int = 16,
    overwrite: bool = False,
) -> Summary:
    """Write the pictures of latents in every variant into a folder, onto a sheet, or both.

    Args:
        z: latents [N, Z].
        names: of each latent, how its files begin, and what messages call it.
        columns: of the sheet; each variant begins a row, or with `by_latent` each latent.
        out, sheet, format, batch_size, overwrite: as for `generate_files`.

    Raises:
        FolderError, ConfigError: as `generate_files`.
    """
    picture = model.model.picture
    files: list[list[Path]] = []
    if out is not None:
        suffix = suffix_for(picture, format)
        files = [[Path(out) / f"{stem}{ending}{suffix}" for stem, _ in names] for _, _, ending in variants]
        check_results([Path(words) for _, words in names], list(zip(*files, strict=True)), Path(out), overwrite)
        Path(out).mkdir(parents=True, exist_ok=True)
    if sheet is not None:
        _check_sheet(Path(sheet), overwrite)
    summary, cells, rows = Summary(), list[Image.Image](), list[Any]()
    side, total = max(picture.height, picture.width), len(z) * len(variants)
    with counting("generating") as tell:
        for done, (number, place, y) in enumerate(_made(model, z, variants, batch_size, by_latent), 1):
            array = to_array(y, picture)
            if files:
                write_result(files[number][place], array)
                summary.written.append(files[number][place])
            if sheet is not None:
                cells.append(thumbnail(array, picture))
            whole = place == len(z) - 1 and not by_latent  # The last row of a variant may be short.
            if len(cells) == columns or (cells and whole):
                rows.append(row([*cells, *[None] * (columns - len(cells))], side))
                cells = []
            tell(done, total)
    if sheet is not None:
        with png_rows(sheet, columns * (side + 2 * MARGIN)) as append:
            for band in rows:
                append(band)
        summary.written.append(Path(sheet))
    return summary


def _variants(
    translator: Translator,
    to: Sequence[str | Mapping[str, Any]],
    codes: Sequence[str | Mapping[str, float]],
    traverse: str | None,
) -> list[Variant]:
    """Return what every seed is made with: what is told, the codes, and how names of files end."""
    targets = [(told_of(translator, t), f"__{translator.parse(t)[0].name}") for t in to] or [(told_of(translator, None), "")]
    chosen: list[list[Any]] = [chosen_codes(translator, choice) for choice in codes] or [[]]
    if traverse is not None:
        chosen = [[*choice, *value] for choice in chosen for value in traversed(translator, traverse)]
    return [(told, own, ending + f"__{in_words(own)}" * bool(own)) for told, ending in targets for own in chosen]


def _made(
    model: OnManifold, z: Tensor, variants: Sequence[Variant], batch_size: int, by_latent: bool
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (number of the variant, place of the latent, picture), variant by variant or latent by latent."""
    for first, part in enumerate(z.split(1)) if by_latent else [(0, z)]:
        for number, (told, codes, _) in enumerate(variants):
            made = decoded(model, written(part, codes), told, batch_size)
            yield from ((number, first + place, y) for place, y in enumerate(made))


def _check_sheet(sheet: Path, overwrite: bool) -> None:
    """Raise FolderError for a sheet that is no PNG, or that is there already."""
    if sheet.suffix.lower() != ".png":
        raise FolderError(f"a sheet is written as .png; {sheet} has another ending")
    if sheet.exists() and not overwrite:
        raise FolderError(f"{sheet} would be replaced: give another --sheet, or say --overwrite")
