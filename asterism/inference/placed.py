"""A trained model on its device: the common base of translation and generation.

Shapes: N batch, C channels, h x w pixels of the model, L labels, S style size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from asterism.cuda_graphs import Recorder
from asterism.inference.styles import StyleBook
from asterism.inference.target_words import Edit, read_target
from asterism.labels import LabelError
from asterism.machine import Machine
from asterism.recipes.model import Model
from asterism.recipes.render import translate


class PlacedModel:
    """A trained model on its device.

    Args:
        model: from `load_model`; its networks move to the device.
        device, precision: as for `asterism.load`.

    Attributes:
        model: recipe, label space, picture format, and the information stored in the model file.
        machine: device, precision, and the reason for the choice.
        recipe: the model's recipe.
        recorder: on CUDA, replays translations as graphs.
        styles: makes and caches styles, for recipes with styles.
    """

    def __init__(self, model: Model, device: str = "auto", precision: str = "auto") -> None:
        self.model = model
        self.machine = Machine.choose(device, precision)
        self.machine.place(model.recipe)
        self.recipe = model.recipe
        self.recorder = Recorder(self.machine.device) if self.machine.device.type == "cuda" else None
        self.styles = StyleBook(self.recipe)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that targets are made of: all of them, or of a recipe that is told the domain its domains.

        Without those whose networks the model file lacks.
        """
        if self.recipe.abilities.told == "none":
            return ()
        space, lacking = self.model.space, self.model.unreachable
        names = space.domain_names if self.recipe.abilities.told == "domain" else space.names
        return tuple(name for name in names if name not in lacking)

    def parse(self, to: str | Mapping[str, Any]) -> tuple[Edit, ...]:
        """Read a target: one edit, and one pass of the model, per dataset that it names.

        Raises:
            LabelError: an unknown label or a contradiction, a label that is none of the domains of a recipe that is told
                the domain, or one whose network the model file lacks; says what is valid.
        """
        if not isinstance(to, (str, Mapping)):
            raise LabelError(
                f"a target is words or a dict, not {type(to).__name__}; translate to several targets one after another"
            )
        space = self.model.space
        edits = read_target(space, to)
        lacking, targets = self.model.unreachable, ", ".join(self.labels)
        for name, holds in ((space.names[i], holds) for edit in edits for i, holds in edit.values.items()):
            if holds and name in lacking:
                raise LabelError(f"the model has no network that translates to {name}; it translates to {targets}")
            if not holds and name in self.recipe.abilities.targets and not space.siblings(space.index(name)):
                raise LabelError(
                    f"{self.model.name} gives pictures {name} and cannot take it from them; it translates to {targets}"
                )
            if name not in (*self.labels, *lacking):
                raise LabelError(f"{name} is not one of the domains that {self.model.name} has learned: {targets}")
        asked = [(space.names[i], s) for edit in edits for i, s in edit.strengths.items()]
        if asked and not self.recipe.abilities.by_strength:
            (name, strength), *_ = asked
            raise LabelError(
                f"{name}={strength:g}: recipe {self.model.name} is told whether a label holds, and no strength: say {name} or "
                f"{name}=no"
            )
        return edits

    def render(self, x: Tensor, told: Tensor, s: Tensor | None = None, masks: tuple[Tensor, ...] = ()) -> Tensor:
        """Return the model's translations [N, C, h, w] of x [N, C, h, w], in [-1, 1]; arguments as `Recipe.translate` takes.

        A GPU replays what it did for as many pictures of this size before.
        """

        def work(tensors: Mapping[str, Tensor]) -> Tensor:
            given = tuple(tensors[name] for name in self.recipe.abilities.masks if name in tensors)
            return translate(self.recipe, tensors["x"], tensors["told"], tensors.get("s"), given)

        tensors = {"x": x, "told": told, **dict(zip(self.recipe.abilities.masks, masks, strict=False))}
        if s is not None:
            tensors["s"] = s
        if self.recorder is None or self.recipe.calls_out:
            return work(tensors)
        made = self.recorder("translate", work, tensors)
        assert made is not None
        return made

    def classifier(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return what predicts the labels of x, or none where the model file lacks its class head.

        A recipe without one is told nothing but the domain, so that the other labels do not matter.
        """
        if not self.recipe.abilities.judges:
            return lambda: x.new_zeros(len(x), self.model.space.num_labels)
        return None if self.model.missing else lambda: self.recipe.classify(x)
