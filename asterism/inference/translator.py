"""The translator: a trained model, ready for pictures.

model = asterism.load("runs/faces")
model.translate("me.jpg", to="Blond_Hair")                            # a PIL image
model.translate(batch, to={"Blond_Hair": True, "Eyeglasses": False})  # float [N, C, H, W] or uint8 [N, H, W, C]
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.values import clipped
from asterism.inference import source_labels, told_by_picture
from asterism.inference.apply import passes, told_of
from asterism.inference.generator import check_batch_size
from asterism.inference.images import Picture, attention_back, fit_in, fit_masks, open_all, open_image, split
from asterism.inference.on_manifold import OnManifold
from asterism.inference.regions import Regions, translate_regions
from asterism.inference.styles import Between, Each, Style, StyleSource, Target, line
from asterism.inference.target_words import Edit
from asterism.inference.tiles import Source, whole
from asterism.inference.tiling import Tiling
from asterism.recipes.base import Masks
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError, find_model


def load(path: str | os.PathLike[str], device: str = "auto", precision: str = "auto", masks: Masks | None = None) -> Translator:
    """Load a trained model.

    Args:
        path: a run folder, a model file, a hub name `owner/name`, or `demo`, the bundled model of drawn faces.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: `float32` is exact; `bfloat16` is faster and off by up to about 0.01; `auto` takes bfloat16 where the
            hardware multiplies it; `float64` is slow and for comparing two ways of computing.
        masks: for models that carry edges over by masks: a function from pictures [N, C, H, W] in [-1, 1], at the model's
            size and on its device, to two masks [N, 1, h, w] in [0, 1]; it takes the place of the model's own.

    Raises:
        ModelError: there is no such model, or it cannot be used.
        ConfigError: a device that is not there, or masks for a model that takes none.
    """
    file = find_model(path)
    translator = Translator(load_model(file), device, precision)
    translator.path = file
    if masks is not None:
        translator.recipe.mask_by(masks)
    return translator


class Translator(OnManifold):
    """A trained model, ready for pictures of any kind and size.

    Args:
        model: from `load_model`; its networks move to the device.
        device, precision: as for `load`.
    """

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], device: str = "auto", precision: str = "auto", masks: Masks | None = None
    ) -> Translator:
        """Load a trained model; `load` by the name that other libraries give it."""
        return load(path, device, precision, masks)

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model's folder, with its card; as `asterism.inference.hub.save_pretrained`.

        Raises:
            ModelError: the model was not loaded from a file, or as there.
        """
        from asterism.inference.hub import save_pretrained

        return save_pretrained(self._file(), folder, overwrite=overwrite)

    def push_to_hub(self, name: str, *, private: bool = True) -> str:
        """Upload the model's folder to the hub and return its page; as `asterism.inference.hub.push_to_hub`.

        Raises:
            ModelError: the model was not loaded from a file, or as there.
        """
        from asterism.inference.hub import push_to_hub

        return push_to_hub(self._file(), name, private=private)

    def _file(self) -> Path:
        if self.path is None:
            raise ModelError("this translator was not loaded from a file; asterism.load gives one that can be saved")
        return self.path

    def translate(
        self,
        images: Any,
        to: str | Mapping[str, Any] | None = None,
        *,
        like: Any = None,
        style: int | StyleSource | None = None,
        truncation: float = 1.0,
        strength: float = 1.0,
        source: str | Mapping[str, Any] | None = None,
        labels: str | Mapping[str, Any] | Sequence[Any] | None = None,
        instances: Any = None,
        fit: str = "letterbox",
        tile: int | None = None,
        overlap: int | None = None,
        regions: Regions = (),
        batch_size: int = 16,
    ) -> Any:
        """Translate pictures to a target.

        Args:
            images: a path, bytes, an open file, a PIL image, an array or tensor (uint8 [H, W, C] or [N, H, W, C]; float in
                [-1, 1], [C, H, W] or [N, C, H, W]), or a list of these, of any sizes.
            to: the target, in words (`Blond_Hair`, `Blond_Hair,Eyeglasses=no`) or as {"Blond_Hair": True}. Labels that it
                does not name keep the value of the source. Over several datasets it is several passes, in its order.
            like: reference picture whose style is taken, for recipes with styles; of others, without `to`, its labels are.
            style: seed of a style for all the pictures, or what `style` and `between` made; without either, the mean style.
            truncation: draws the style towards the domain's mean: 1 leaves it, 0 is the mean.
            strength: 1 is the wanted style, 0 the picture's own, which gives the model's reconstruction. For recipes that are
                told a difference or a change: how much of it is made, 0 none; beyond 0 to 1 it warns. There a label can have
                a strength of its own, `Smiling=0.5,Blond_Hair`, which this one multiplies.
            source: the domain that the pictures' own style is read as; none reads it as the target's.
            labels: the sources' own labels, as far as known, in the forms of `to`, for all or one per picture; others are
                predicted by the model's class head.
            instances: for models of label maps with instances these maps, one per picture; an array [H, W, 2] may hold both.
            fit: how pictures of another size meet the model: `letterbox` takes all of a picture, padded by its edges; `crop`
                takes its centre and pastes the result back; `full` translates every pixel at its own resolution, whole where
                network and memory allow it, else in blended tiles. The result has the picture's own size. Of a picture that is
                larger than the model's it has the detail too: with fit `full`, and of recipes that keep their source, to
                which what changes is added. Other results are enlarged.
            tile, overlap: with fit `full`: side of the tiles, and what neighbours share, in pixels; none chooses.
            regions: the parts (left, top, width, height) to translate, or what finds them in a picture [H, W, C].
            batch_size: pictures, or tiles, at once.

        Returns:
            What came in: PIL images for files and PIL images, else arrays or tensors of the same type, shape and range; a
            list for a list. Pictures that Pillow cannot hold come back as arrays [H, W, C].

        Raises:
            LabelError: an unknown label, a contradiction, or labels that must be stated because the model file holds no
                class head.
            PictureError, ConfigError: a picture that cannot be read or taken; a batch size below 1; tiles of another size.
            ModelError: a recipe that does not translate, or a style for one without styles.
        """
        self.model.require("translates")
        edits, like = (told_by_picture.like(self, like), None) if to is None else (self.parse(to), like)
        rest = {"like": like, "truncation": truncation, "strength": strength, "source": source}
        if isinstance(style, StyleSource):
            self.check_styled()
            if like is not None or (truncation, strength, source) != (1.0, 1.0, None):
                raise ConfigError("give like, truncation, strength or source to model.style(...), not together with its result")
            target = Target(edits, style)
        else:
            target = Target(edits, self.style(seed=style, fit=fit, **rest), strength)
            if self.recipe.abilities.by_strength and target.beyond:
                warnings.warn(target.beyond, stacklevel=2)
        singles, join = split(images)
        known = source_labels.stated(self.model.space, labels, len(singles))
        opened = open_all(singles, self.model.picture, known, instances)
        rows = self.stream(opened, [target], fit=fit, tiling=Tiling(tile, overlap), batch_size=batch_size)
        if regions:
            rows = ((picture, translate_regions(self, picture, [target], regions, batch_size)) for picture in opened)
        return join([picture.rebuild(y) for picture, (y,) in rows])

    def attention(
        self,
        images: Any,
        to: str | Mapping[str, Any],
        *,
        strength: float = 1.0,
        labels: str | Mapping[str, Any] | Sequence[Any] | None = None,
        fit: str = "letterbox",
        batch_size: int = 16,
    ) -> Any:
        """Show how much of each pixel a translation paints anew, for recipes that attend; arguments as for `translate`.

        Returns:
            Arrays float32 [H, W] from 0 to 1, of each picture's own size; a list for a list.

        Raises:
            ModelError: a recipe without attention.
            As for `translate`.
        """
        self.model.require("attends")
        singles, join = split(images)
        known = source_labels.stated(self.model.space, labels, len(singles))
        opened = open_all(singles, self.model.picture, known)
        target = Target(self.parse(to), None, strength, attention=True)
        rows = self.batches(opened, [target], fit=fit, batch_size=batch_size)
        maps = [attention_back(back)(y)[0, 0].clamp(0, 1) for _, (y,), back in rows]
        return join(maps if isinstance(images, Tensor) else [a.cpu().numpy() for a in maps])

    def style(
        self,
        *,
        seed: int | None = None,
        like: Any = None,
        truncation: float = 1.0,
        strength: float = 1.0,
        source: str | Mapping[str, Any] | None = None,
        fit: str = "letterbox",
    ) -> Style | None:
        """Make a style from the arguments of `translate`; none where all of them are left as they are.

        Raises:
            ModelError: the model's recipe has no styles.
            PictureError: a reference that cannot be read.
        """
        by_strength = self.recipe.abilities.by_strength  # There, strength is the target's and no style's.
        if like is None and (seed, truncation, source) == (None, 1.0, None) and (strength == 1 or by_strength):
            return None
        self.check_styled()
        if not self.recipe.abilities.reads_style and (like is not None or source is not None or strength < 1):
            raise ModelError(
                f"recipe {self.model.name} has styles of noise, which no picture shows: like, strength and source have nothing "
                "to read; give the seed of a style instead"
            )
        if self.model.picture.source and (source is not None or strength < 1):
            raise ModelError("sources of another kind than the results have no style: strength and source have nothing to read")
        x = None
        if like is not None:
            made = self.model.picture.made  # A style is read from a picture as the model makes them, at its size.
            x, _ = fit_in(open_image(like, made), made, "letterbox" if fit == "full" else fit, self.machine.device)
        own = None
        if source is not None:
            (edit, *_) = self.parse(source)
            labels, known, dataset = edit.apply(self.model.space, torch.zeros(1, self.model.space.num_labels))
            own = self.recipe.condition(Batch(labels=labels, known=known, dataset=dataset), labels)
        return Style(seed, x, truncation, strength, own)

    def between(self, first: Any, second: Any, weight: float, *, fit: str = "letterbox") -> Between:
        """Make the style on the straight line between two others; `translate(..., style=...)` takes it.

        Args:
            first, second: each a seed, a reference picture in the forms of `translate`, what `style` or `between` made, or
                none for the domain's mean style.
            weight: 0 is the first, 1 the second.
            fit: as for `translate`, of references.

        Raises:
            ModelError: the model's recipe has no styles.
            ConfigError: a weight beyond 0 to 1.
            PictureError: a reference that cannot be read.
        """
        return Between(self._look(first, fit), self._look(second, fit), weight)

    def interpolate(
        self,
        image: Any,
        to: str | Mapping[str, Any],
        styles: Sequence[Any],
        *,
        steps: int = 8,
        labels: str | Mapping[str, Any] | None = None,
        fit: str = "letterbox",
        batch_size: int = 16,
    ) -> Iterator[Any]:
        """Translate one picture in all the styles on the way from one style to the next, lazily.

        Args:
            image, to, labels, fit: as for `translate`; one picture.
            styles: two or more, each as for `between`.
            steps: from each style to the next; the last comes after them, so that n styles make (n - 1) steps + 1 pictures.
            batch_size: pictures at once.

        Raises:
            ConfigError: fewer than two styles, or no steps.
            As for `translate`.
        """
        if len(styles) < 2 or steps < 1:
            raise ConfigError(f"interpolation takes two or more styles and at least one step; given {len(styles)} and {steps}")
        looks = line([self._look(style, fit) for style in styles], steps)
        (own,) = source_labels.stated(self.model.space, labels, 1)
        picture = replace(open_image(image, self.model.picture), labels=own)
        return map(picture.rebuild, self.in_each(picture, self.parse(to), looks, fit=fit, batch_size=batch_size))

    def in_each(
        self,
        picture: Picture,
        edits: tuple[Edit, ...],
        looks: Iterable[StyleSource],
        *,
        fit: str = "letterbox",
        batch_size: int = 16,
    ) -> Iterator[Tensor]:
        """Translate one picture in many styles, in batches.

        Yields:
            A translation per style, as `stream` gives it.
        """
        self.check_styled()
        check_batch_size(batch_size)
        remaining = iter(looks)
        while chunk := list(islice(remaining, 1 if fit == "full" else batch_size)):
            target = Target(edits, Each(chunk))
            for _, (y,) in self.stream([picture] * len(chunk), [target], fit=fit, batch_size=len(chunk)):
                yield y

    def _look(self, given: Any, fit: str) -> StyleSource:
        if isinstance(given, StyleSource):
            return given
        if given is None:
            self.check_styled()
            return Style()
        made = self.style(seed=given, fit=fit) if isinstance(given, int) else self.style(like=given, fit=fit)
        assert made is not None
        return made

    def check_strengths(self, strengths: Sequence[float]) -> None:
        """Refuse strengths where the recipe is told none.

        Raises:
            ModelError: says so.
        """
        if strengths and not self.recipe.abilities.by_strength:
            raise ModelError(f"recipe {self.model.name} is told what to change and no strength: leave out the strengths")

    def check_styled(self) -> None:
        """Refuse what goes by styles where the recipe has none.

        Raises:
            ModelError: says so.
        """
        if not self.recipe.abilities.style:
            strength = "" if self.recipe.abilities.by_strength else ", strength"
            raise ModelError(
                f"recipe {self.model.name} has no styles: style, truncation{strength} and source have no effect, there is "
                "nothing to interpolate, and like goes without a target: that picture's labels are taken"
            )

    def stream(
        self,
        pictures: Iterable[Picture],
        targets: Sequence[Target],
        *,
        fit: str = "letterbox",
        tiling: Tiling | None = None,
        batch_size: int = 16,
    ) -> Iterator[tuple[Picture, list[Tensor]]]:
        """Translate pictures as they arrive, each to every target.

        Args:
            tiling: with fit `full`, what is wanted of the tiles.

        Yields:
            Each picture with its translations, one per target: float32 [C, H, W] in [-1, 1] at the picture's own size,
            on the translator's device, with fit `full` on the CPU.
        """
        if fit == "full":
            check_batch_size(batch_size)
            yield from ((p, whole(self, Source.of(p), targets, tiling or Tiling(), batch_size)) for p in pictures)
            return
        for picture, rows, back in self.batches(pictures, targets, fit=fit, batch_size=batch_size):
            yield picture, [clipped(back(y)[0], self.model.picture) for y in rows]

    def fitted(
        self, picture: Picture, fit: str, device: torch.device | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Bring a picture to the model's size, as `fit_in`, and on the way back keep the detail that the recipe keeps."""
        return fit_in(picture, self.model.picture, fit, device or self.machine.device, self.recipe.abilities.keeps)

    def batches(
        self, pictures: Iterable[Picture], targets: Sequence[Target], *, fit: str = "letterbox", batch_size: int = 16
    ) -> Iterator[tuple[Picture, list[Tensor], Callable[[Tensor], Tensor]]]:
        """Translate pictures as they arrive, and leave the way back to their own size to the caller's threads.

        Yields:
            Each picture with its translations at the model's size, one [1, C, h, w] per target, float32 in [-1, 1] on the
            translator's device, and the function that brings one of them to the picture's own size.
        """
        check_batch_size(batch_size)
        remaining = iter(pictures)
        while batch := list(islice(remaining, batch_size)):
            fitted = [picture.fitted or self.fitted(picture, fit) for picture in batch]
            x = self.machine.take(torch.cat([x for x, _ in fitted]))
            known, given = [picture.labels for picture in batch], [p.masks for p in batch if p.masks is not None]
            with torch.no_grad(), self.machine.backend_flags(), self.machine.autocast():
                masks = [fit_masks(m, self.model.picture, fit, self.machine.device) for m in given]
                both = torch.cat(masks).to(x).split(1, dim=1) if masks else ()
                told, edits = told_of(self, targets), [target.edits for target in targets]
                labels = source_labels.complete(self.model.space, known, edits, self.classifier(x), told).to(x)
                results = [passes(self, x, [target] * len(batch), labels, tuple(both)) for target in targets]
            for row, (picture, (_, back)) in enumerate(zip(batch, fitted, strict=True)):
                yield picture, [y[row : row + 1] for y in results], back

    def __repr__(self) -> str:
        held = f"{self.model.name}, {self.model.picture.height}x{self.model.picture.width}, {self.machine.device.type}"
        return f"Translator({held}, labels: {', '.join(self.labels)})"
