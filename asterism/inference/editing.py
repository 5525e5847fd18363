"""Edit on the manifold of a model: strokes in, candidates out; and what an edit did, done to the photograph itself.

model = asterism.load("runs/noise")
found = model.project("me.jpg")
edited = model.edit(found.codes[0], paint="strokes.png")     # a picture of the strokes, transparent elsewhere
edited.pictures[0], edited.slide(0), edited.transfer(0, "me.jpg")
again = model.edit(edited.codes[2], sketch="lines.png")      # on from the third candidate

Shapes: K candidates; codes [K, D]; C channels, h x w pixels of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.transforms import Box, crop_box
from asterism.inference.decoding import code_in_words, decoder_of, decodes, saved_codes
from asterism.inference.fitting import letterbox
from asterism.inference.generator import chosen_seeds
from asterism.inference.images import fit_in, open_image, rebuilt, split
from asterism.inference.placed import PlacedModel
from asterism.inference.stroke_pictures import read_strokes
from asterism.manifold.decoder import Decoder, pausing
from asterism.manifold.editing import CANDIDATES, STAY, STEPS, edit
from asterism.manifold.spaces import along
from asterism.manifold.strokes import Wishes, painted, sketched, warped
from asterism.manifold.transfer import along_path

PATH = 9
"""Pictures on the path of an edit, along which motion and colours are followed."""

Warp = Sequence[int]
"""Row and column of a patch's centre, row and column of where it is to be, and its width in pixels if not the usual one."""


@dataclass(frozen=True)
class Edited:
    """What an edit came to, the best candidate first.

    Args:
        codes: float32 [K, D] on the CPU.
        pictures: of these, at the model's size; PIL images where Pillow holds them.
        costs: how far each still is from what was asked for, and from the start.
        start: the code [D] that was edited; none where candidates began anywhere.
        wishes: what was asked for, which another edit may go on with.
        way: how `slide` goes from code to code: spherical for latents, else linear.
    """

    placed: PlacedModel
    decoder: Decoder
    codes: Tensor
    pictures: list[Any]
    costs: list[float]
    start: Tensor | None
    wishes: Wishes
    way: str

    def slide(self, number: int = 0, steps: int = 8, start: Tensor | None = None) -> list[Any]:
        """Return pictures on the way from the start to a candidate, steps + 1 of them, both ends included.

        Args:
            start: the code [D] to begin with; none: the one that was edited.

        Raises:
            ConfigError: no such candidate, no steps, or no start.
        """
        return [rebuilt(y, self.placed.model.picture) for y in self.path(number, steps, start)]

    def path(self, number: int, steps: int, start: Tensor | None = None) -> Tensor:
        """Return the pictures of `slide`, float [steps + 1, C, h, w] in [-1, 1] on the CPU."""
        begin = self.start if start is None else start
        if not 0 <= number < len(self.codes):
            raise ConfigError(f"there is no candidate {number}; the edit has {len(self.codes)}, counted from 0")
        if steps < 1 or begin is None:
            raise ConfigError("a way begins with a code and has at least one step: this edit began anywhere, so give a start")
        codes = along(self.decoder.space, begin.float().cpu(), self.codes[number], steps + 1)
        return _decoded(self.placed, self.decoder, codes)

    def transfer(self, number: int, photo: Any, start: Tensor | None = None, fit: str = "crop") -> Any:
        """Do to a photograph what the edit did to its projection: moved and coloured anew, with all its detail.

        Args:
            photo: the picture that was projected, of any size, in one of the forms that `project` takes.
            start: its code [D]; none: the one that was edited.
            fit: as it was projected.

        Returns:
            What came in, of its own size.

        Raises:
            ConfigError, PictureError: as for `slide` and `project`.
        """
        change = along_path(self.path(number, PATH - 1, start).double())
        opened, picture = open_image(photo, self.placed.model.picture), self.placed.model.picture
        x, _ = fit_in(opened, picture, "full", torch.device("cpu"))
        height, width = x.shape[2:]
        if fit == "crop":
            box = crop_box(height, width, picture)
        else:
            _, box = letterbox(x, picture.height, picture.width)
        rows, columns = _within(box.top, box.height, height), _within(box.left, box.width, width)
        area = _padded(x[0], box)
        made = change.apply(area.double()).float().clamp(-1, 1)
        whole = x[0].clone()
        inner = made[:, rows.start - box.top : rows.stop - box.top, columns.start - box.left : columns.stop - box.left]
        whole[:, rows, columns] = inner
        return opened.rebuild(whole)


def edit_pictures(
    placed: PlacedModel,
    start: Tensor | str | None = None,
    *,
    paint: Any = None,
    sketch: Any = None,
    warp: Sequence[Warp] = (),
    wishes: Wishes | None = None,
    source: Any = None,
    to: str | Mapping[str, Any] | None = None,
    labels: str | Mapping[str, Any] | None = None,
    candidates: int = CANDIDATES,
    steps: int = STEPS,
    stay: float = STAY,
    seed: int = 0,
    fit: str = "crop",
    pause: Callable[[], None] | None = None,
) -> Edited:
    """Edit a code by strokes.

    Args:
        start: a code [D], such as a projection's or a candidate's, or a sum of saved ones in words; none: for latents
            candidates begin anywhere, for styles and labels with what the model reads in the source.
        paint: a picture of strokes, transparent elsewhere, whose colours are wanted there: a file, a PIL image or an array of
            uint8 [H, W, 4]; it is brought to the model's size.
        sketch: another, whose edges are wanted.
        warp: patches that are to be elsewhere, in pixels of the model's pictures.
        wishes: of an earlier edit, to go on with beside the new ones.
        source: the picture that is translated, for models whose codes are styles or labels.
        to, labels, fit, pause: as for `project_pictures`.
        candidates, steps, stay, seed: as for `asterism.manifold.editing.edit`.

    Raises:
        ConfigError: no stroke, numbers out of range, or a code that the model does not take.
        PictureError: strokes that cannot be read.
        ModelError, LabelError: as for `project_pictures`.
    """
    chosen_seeds(None, [seed])  # Refuses one that PyTorch does not take.
    machine, picture, kind = placed.machine, placed.model.picture, decodes(placed)
    x = None
    if kind != "latent":
        if source is None:
            raise ConfigError(f"the codes of {placed.model.name} are {kind}, which need a source picture (source=)")
        x = machine.take(fit_in(open_image(split(source)[0][0], picture), picture, fit, machine.device)[0])
    decoder = pausing(decoder_of(placed, to, x, labels), pause)
    size = decoder.space.size
    if isinstance(start, str):
        start = code_in_words(placed, start, saved_codes(placed, size))
    if start is None and decoder.own is not None:
        start = decoder.own[0]
    if start is not None:
        decoder.space.check(start[None].cpu())
    like = torch.zeros(1, picture.channels, picture.height, picture.width, device=machine.device, dtype=machine.full_dtype)
    asked = Wishes.none(like) if wishes is None else wishes
    for given, brush in ((paint, painted), (sketch, sketched)):
        if given is not None:
            colour, mask = (part.to(like) for part in read_strokes(given, picture))
            # Beside a drawn line there is neither black nor white, so that its edges show whatever its colour is.
            asked = asked.and_then(brush(colour if brush is painted else colour * mask, mask))
    if warp:
        if start is None:
            raise ConfigError("a warp moves a patch of a picture: give the code to start from")
        y = _decoded(placed, decoder, start[None].cpu()).to(like)
        for words in warp:
            if len(words) not in (4, 5):
                raise ConfigError(f"a warp is row, column, new row, new column and perhaps a width; given {list(words)}")
            asked = asked.and_then(warped(y, (words[0], words[1]), (words[2], words[3]), *words[4:]))
    with machine.backend_flags():
        (found,) = edit(decoder, asked, start, candidates=candidates, steps=steps, stay=stay, seed=seed)
    pictures = [rebuilt(y, picture) for y in found.pictures.float().cpu()]
    start = None if found.start is None else found.start.float().cpu()
    return Edited(placed, decoder, found.codes.float().cpu(), pictures, found.costs.tolist(), start, asked, decoder.space.way)


def _decoded(placed: PlacedModel, decoder: Decoder, codes: Tensor) -> Tensor:
    """Return the pictures of codes [N, D], float32 on the CPU."""
    machine = placed.machine
    with torch.no_grad(), machine.backend_flags():
        return torch.cat([decoder.decode(c.to(machine.device, machine.full_dtype)) for c in codes.split(16)]).float().cpu()


def _within(first: int, length: int, size: int) -> slice:
    """Return the part of a stretch that lies between 0 and `size`."""
    return slice(max(0, first), min(size, first + length))


def _padded(x: Tensor, box: Box) -> Tensor:
    """Return the area `box` of a picture x [C, H, W], with its border's values beyond it."""
    rows = torch.arange(box.top, box.top + box.height).clamp(0, x.shape[1] - 1)
    columns = torch.arange(box.left, box.left + box.width).clamp(0, x.shape[2] - 1)
    return x[:, rows][:, :, columns]
