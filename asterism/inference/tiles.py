"""Translate a picture at its own resolution, a row of tiles at a time, in memory that does not grow with its height.

Along each axis a tile gives way to the next in the middle of what they share: over half of `Plan.overlap`, one is faded into
the other by y = a + w (b - a). So the two weights sum to one, and where tiles agree the result is theirs to the bit. On both
sides of this ramp at least a quarter of the overlap is thrown away, since there a tile lacks what lies beyond its edge.

Shapes: C channels, H x W pixels of the picture, h x w of a tile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from asterism.data.pictures import to_float
from asterism.inference import source_labels
from asterism.inference.apply import steps
from asterism.inference.fitting import letterbox
from asterism.inference.images import Picture, fit_in
from asterism.inference.norms import SharedNorms
from asterism.inference.placed import PlacedModel
from asterism.inference.styles import Target
from asterism.inference.tiling import SIDE, Plan, Tiling, plan, up
from asterism.recipes.render import translate

log = logging.getLogger(__name__)

PIECES = 4
"""Along each axis, of a picture in tiles: pieces whose statistics all tiles share."""

Steps = Sequence[tuple[Tensor, Tensor | None]]
"""What each pass of the model is told, and its style; of `apply.steps`."""


@dataclass(frozen=True)
class Source:
    """A picture that is read some rows at a time.

    Args:
        height, width: in pixels.
        read: rows from a first to before a last, [C, n, W], as `Picture.x` holds them.
        labels: what is known of it: label index -> value.
        masks: rows of its masks, float32 [2, n, W] in [0, 1], where they are given.
    """

    height: int
    width: int
    read: Callable[[int, int], Tensor]
    labels: Mapping[int, float] = field(default_factory=dict)
    masks: Callable[[int, int], Tensor] | None = None

    @classmethod
    def of(cls, picture: Picture) -> Source:
        """Return a picture in memory as a source."""
        masks = picture.masks
        return cls(
            picture.x.shape[1],
            picture.x.shape[2],
            lambda top, bottom: picture.x[:, top:bottom],
            picture.labels,
            None if masks is None else lambda top, bottom: masks[:, top:bottom],
        )


@dataclass
class Seams:
    """How far neighbouring tiles are apart where they are blended: mean of |a - b|, as a share of the value range."""

    total: float = 0.0
    count: int = 0

    def add(self, a: Tensor, b: Tensor) -> None:
        """Count two versions of the same pixels, in [-1, 1]."""
        self.total += float((a - b).abs().sum(dtype=torch.float64)) / 2
        self.count += a.numel()

    @property
    def mean(self) -> float:
        """The share; 0 without seams."""
        return self.total / max(1, self.count)


def prepare(placed: PlacedModel, source: Source, targets: Sequence[Target]) -> list[Steps]:
    """Decide once for the whole picture what a tile does not show: the labels that it keeps, and its own style.

    Both are read from the picture at the model's size, as for a picture that is translated at that size. It is read for this
    only where the targets or the recipe ask for it.

    Returns:
        Per target what `translate_rows` takes.

    Raises:
        LabelError: labels must be stated, as for `Translator.translate`.
    """
    machine, picture, told = placed.machine, placed.model.picture, placed.recipe.abilities.told
    small: list[Tensor] = []

    def look() -> Tensor:
        if not small:
            small.append(machine.take(_small(placed, source)))
        return small[0]

    def classify() -> Tensor:
        classifier = placed.classifier(look())
        assert classifier is not None
        return classifier()

    with torch.no_grad(), machine.backend_flags(), machine.autocast():
        x = machine.take(torch.zeros(1, picture.taken.channels, picture.height, picture.width))
        known = placed.classifier(x)
        known = classify if placed.recipe.abilities.judges and known is not None else known
        edits = [target.edits for target in targets]
        labels = source_labels.complete(placed.model.space, [source.labels], edits, known, told).to(x)
        x = look() if placed.recipe.abilities.reads_style else x
        return [steps(placed, x, target, labels) for target in targets]


def whole(placed: PlacedModel, source: Source, targets: Sequence[Target], tiling: Tiling, batch_size: int) -> list[Tensor]:
    """Translate a picture to each target: [C, H, W], as the rows of `translate_rows` are.

    Raises:
        ConfigError: tiles that the model does not take.
        LabelError: as for `prepare`.
    """
    made = []
    for passes in prepare(placed, source, targets):
        chosen = plan(placed, source.height, source.width, tiling, *passes[0])
        log.info("%s", chosen)
        made.append(torch.cat(list(translate_rows(placed, source, chosen, passes, batch_size=batch_size)), 1))
    return made


def translate_rows(
    placed: PlacedModel,
    source: Source,
    chosen: Plan,
    passes: Steps,
    *,
    batch_size: int = 16,
    seams: Seams | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Iterator[Tensor]:
    """Translate a picture.

    Args:
        chosen: its tiles.
        passes: what `prepare` made for the target.
        batch_size: tiles at once; fewer where they are large.
        seams: told how far tiles are apart.
        tell: told how many rows of tiles are done.

    Yields:
        Rows of the result from the top, float32 (or float64, where that is the precision) [C, n, W] in [-1, 1], on the CPU.
    """
    height, width = chosen.height, chosen.width
    ramp, half, seams = _ramp(chosen.overlap), chosen.overlap // 4, seams or Seams()
    count = max(1, min(batch_size, SIDE * SIDE // (chosen.tile[0] * chosen.tile[1])))
    norms = _norms(placed, source, chosen, passes)
    done, tail = 0, torch.empty(0)
    for number, top in enumerate(chosen.tops):
        bottom = top + chosen.tile[0]
        x = _padded(_floats(placed, source.read(top, min(bottom, height))), chosen)
        masks = None if source.masks is None else _padded(source.masks(top, min(bottom, height)), chosen)
        band = _band(placed, x, masks, chosen, passes, count, seams, norms)
        if number:
            # Blended rows end the rows that were kept of the tiles above and begin those of these tiles.
            kept = slice(done - top, done - top + tail.shape[1])
            seams.add(tail, band[:, kept])
            band[:, kept] = torch.lerp(tail, band[:, kept], ramp[:, None].to(band))
        until = height if number + 1 == len(chosen.tops) else _middle(chosen.tops, number + 1, chosen.tile[0]) - half
        tail = band[:, until - top : until - top + 2 * half].clone()
        yield band[:, done - top : until - top, :width]
        done = until
        tell(number + 1)


def _band(
    placed: PlacedModel,
    x: Tensor,
    masks: Tensor | None,
    chosen: Plan,
    passes: Steps,
    count: int,
    seams: Seams,
    norms: SharedNorms | None,
) -> Tensor:
    """Translate a row of tiles and join them: [C, h, W], W as padded, of x and masks of that width."""
    machine, width, half, ramp = placed.machine, chosen.tile[1], chosen.overlap // 4, _ramp(chosen.overlap)
    band = torch.empty(0)
    for first in range(0, len(chosen.lefts), count):
        lefts = chosen.lefts[first : first + count]
        y = machine.take(torch.stack([x[:, :, left : left + width] for left in lefts]))
        cut = () if masks is None else torch.stack([masks[:, :, left : left + width] for left in lefts]).to(y).split(1, dim=1)
        with torch.no_grad(), machine.backend_flags(), machine.autocast(), norms.of(len(lefts)) if norms else nullcontext():
            for told, s in passes:
                several = None if s is None else s.repeat_interleave(len(lefts), 0)
                every = told.repeat_interleave(len(lefts), 0)
                # A recording of a GPU's work would hold the statistics of one picture.
                y = translate(placed.recipe, y, every, several) if norms else placed.render(y, every, several, tuple(cut))
        y = y.cpu()
        if not first:
            band = y.new_empty(y.shape[1], y.shape[2], x.shape[2])
        for number, (left, tile) in enumerate(zip(lefts, y, strict=True), first):
            start = _middle(chosen.lefts, number, width) - half if number else 0
            if number:
                over, mine = band[:, :, start : start + 2 * half], tile[:, :, start - left : start - left + 2 * half]
                seams.add(over, mine)
                over.lerp_(mine, ramp.to(over))
                start += 2 * half
            band[:, :, start : left + width] = tile[:, :, start - left :]
    return band


def _norms(placed: PlacedModel, source: Source, chosen: Plan, passes: Steps) -> SharedNorms | None:
    """Return the statistics that all tiles share, of PIECES x PIECES pieces of the picture, each half as long as a tile.

    None where the picture is whole, the network has no such norms, or takes no sheet of pieces.
    """
    multiple = placed.recipe.abilities.side_multiple
    if chosen.whole or multiple is None or placed.model.picture.depth == 32:
        return None
    machine, norms = placed.machine, SharedNorms()
    high, wide = (up(side // 2, multiple) for side in chosen.tile)
    tops, lefts = (
        [int((length - side) * (i + 0.5) / PIECES) // multiple * multiple for i in range(PIECES)] if length > side else [0]
        for length, side in ((source.height, high), (source.width, wide))
    )
    bands = [_floats(placed, source.read(top, min(top + high, source.height))) for top in tops]
    sheet = torch.cat([torch.cat([band[:, :, left : left + wide] for left in lefts], 2) for band in bands], 1)
    spare = [-length % multiple for length in sheet.shape[1:]]
    x = machine.take(functional.pad(sheet[None], (0, spare[1], 0, spare[0]), mode="replicate"))
    with torch.no_grad(), machine.backend_flags(), machine.autocast(), norms:
        for told, s in passes:
            x = translate(placed.recipe, x, told, s)
    return norms if norms.found else None


def _middle(places: Sequence[int], number: int, side: int) -> int:
    """Return the middle of what tile `number` shares with the one before it."""
    return (places[number] + places[number - 1] + side) // 2


def _ramp(overlap: int) -> Tensor:
    """Return the weights of the later tile over half of the overlap: they begin and end without a bend, 3 t^2 - 2 t^3."""
    length = 2 * (overlap // 4)
    t = (torch.arange(length) + 0.5) / max(1, length)
    return t * t * (3 - 2 * t)


def _floats(placed: PlacedModel, x: Tensor) -> Tensor:
    """Return rows [C, n, W], stored or not, in [-1, 1], or ids of a label map."""
    taken = placed.model.picture.taken
    return x if x.is_floating_point() and taken.depth < 32 else to_float(x[None], taken)[0]


def _padded(x: Tensor, chosen: Plan) -> Tensor:
    """Let the edges of rows [C, n, W] go on to the right and below as far as tiles do: [C, h, W as padded]."""
    right, below = chosen.lefts[-1] + chosen.tile[1] - x.shape[2], chosen.tile[0] - x.shape[1]
    return functional.pad(x[None], (0, right, 0, below), mode="replicate")[0] if right or below else x


def _small(placed: PlacedModel, source: Source) -> Tensor:
    """Return the whole picture at the model's size [1, C, h, w], padded by its edges to the model's shape."""
    picture = placed.model.picture
    if picture.depth == 32:  # Features are never resized: their centre.
        x = _floats(placed, source.read(0, source.height))[None]
        return fit_in(Picture(x[0], torch.clone), picture, "crop", x.device)[0]
    # Boxes first, so that the picture is never held: at least two of their means to a pixel of the model's.
    box = max(1, int(max(source.height / picture.height, source.width / picture.width) / 2))
    rows = box * max(1, 2**22 // (box * source.width))
    parts = [
        functional.avg_pool2d(
            _floats(placed, source.read(top, min(top + rows, source.height)))[None],
            box,
            ceil_mode=True,
            count_include_pad=False,
        )
        for top in range(0, source.height, rows)
    ]
    return letterbox(torch.cat(parts, 2), picture.height, picture.width)[0]
