"""The controls of one model, made from its labels and abilities, and what they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from asterism.config import ConfigError
from asterism.inference.styles import StyleSource
from asterism.studio.models import StudioModel

AS_IT_IS = "as it is"
SEED, REFERENCE, MEAN = "seed", "reference picture", "mean of the domain"

STEPS = 100
"""Of a slider for a number."""

Given = Mapping[Any, Any]
"""Component -> value, as Gradio hands it to functions whose inputs are a set."""


@dataclass
class Controls:
    """The components of one model.

    Args:
        sets: a choice, and its labels, of which one holds.
        switches: boxes, and their labels, each of which may hold.
        numbers: sliders, each of a label.
        looks: everything else, by the name of the argument that it is for.
    """

    model: StudioModel
    sets: list[tuple[gr.Radio, list[str]]] = field(default_factory=list)
    switches: list[tuple[gr.CheckboxGroup, list[str]]] = field(default_factory=list)
    numbers: list[tuple[gr.Slider, str]] = field(default_factory=list)
    looks: dict[str, Any] = field(default_factory=dict)

    @property
    def components(self) -> set[Any]:
        """All of them."""
        return set(self.asking) | set(self.looks.values())

    @property
    def asking(self) -> list[Any]:
        """Those that ask for labels, in the order of `as_read`."""
        return [component for component, _ in [*self.sets, *self.switches, *self.numbers]]

    def as_read(self, labels: Mapping[str, float]) -> list[Any]:
        """Return what `asking` stand at to ask for the labels of a picture."""
        held: list[Any] = [next((label for label in of if labels.get(label)), None) for _, of in self.sets]
        held += [[label for label in of if labels.get(label)] for _, of in self.switches]
        return held + [labels.get(label) for _, label in self.numbers]

    def target(self, given: Given, own: Mapping[str, float]) -> dict[str, float]:
        """Return the target that is chosen.

        Args:
            own: the labels that the picture has, as far as they were read; what stands as they do asks for nothing.

        Raises:
            ConfigError: nothing is chosen.
        """
        target: dict[str, float] = {given[radio]: True for radio, _ in self.sets if given[radio] not in (None, AS_IT_IS)}
        for boxes, labels in self.switches:
            target |= {label: label in given[boxes] for label in labels if own.get(label) is not (label in given[boxes])}
        target |= {
            label: given[slider]
            for slider, label in self.numbers
            if label not in own or abs(given[slider] - own[label]) > slider.step / 2
        }
        if not target:  # Everything stands as it is: the model's own picture of the source.
            space = self.model.translator.model.space
            chosen = {label for _, labels in self.sets for label in labels}
            first = space.names[space.dataset_span(0)]
            target = {name: value for name, value in own.items() if name in first and (value or name not in chosen)}
        if not target:
            raise ConfigError("choose what the picture is to become")
        return target

    def every_target(self, own: Mapping[str, float]) -> list[dict[str, float]]:
        """Return each choice, each box turned over, and each slider at the end that is further away."""
        targets: list[dict[str, float]] = [{label: True} for _, labels in self.sets for label in labels]
        targets += [{label: not own.get(label, False)} for _, labels in self.switches for label in labels]
        for slider, label in self.numbers:
            low, high = slider.minimum, slider.maximum
            targets.append({label: high if own.get(label, low) < (low + high) / 2 else low})
        return targets

    def how(self, given: Given) -> dict[str, Any]:
        """Return the style that is chosen or, for models without styles that are told the change, the strength."""
        if self.model.styled or "strength" not in self.looks:
            return {"style": self.style(given)}
        return {"strength": given[self.looks["strength"]]}

    def style(self, given: Given) -> StyleSource | None:
        """Return the style that is chosen; none for models without styles, and for the domain's mean.

        Raises:
            ConfigError: a reference picture is missing.
        """
        if not self.model.styled:
            return None
        look = {name: given[component] for name, component in self.looks.items()}
        first = self._end(look, "")
        return self.model.translator.between(first, self._end(look, "2"), look["weight"]) if look["weight"] else first

    def _end(self, look: Mapping[str, Any], end: str) -> StyleSource | None:
        kind, shared = look[f"kind{end}"], {name: look[name] for name in ("truncation", "strength", "fit")}
        seed = max(0, int(look[f"seed{end}"] or 0)) if kind == SEED else None
        like = look[f"like{end}"] if kind == REFERENCE else None
        if kind == REFERENCE and not like:
            raise ConfigError("add the reference picture, or take the style from a seed")
        like = self.model.open(like) if like else None
        return self.model.translator.style(seed=seed, like=like, source=look["source"] or None, **shared)


def make_controls(model: StudioModel) -> Controls:
    """Lay out the components of a model in the present column of the page."""
    controls, space, offered = Controls(model), model.translator.model.space, model.translator.labels
    for group, span in zip(space.groups, space.spans, strict=True):
        sets = [[space.names[i] for i in choice] for choice in space.alternatives if span.start <= choice[0] < span.stop]
        free = [name for name in space.names[span] if name in offered and not any(name in choice for choice in sets)]
        for labels in sets:
            if labels[0] in offered:
                alone = labels == list(offered)
                choices = labels if alone else [AS_IT_IS, *labels]
                title = "Domain" if alone else _ending(labels) or group.dataset
                controls.sets.append((gr.Radio(_shown(choices), value=choices[0], label=title), labels))
        if free and group.kind == "number":
            step = (group.high - group.low) / STEPS
            sliders = [gr.Slider(group.low, group.high, group.low, step=step, label=_shown([name])[0][0]) for name in free]
            controls.numbers += zip(sliders, free, strict=True)
        elif free:
            controls.switches.append((gr.CheckboxGroup(_shown(free), label=f"Labels of {group.dataset}"), free))
    if model.styled:
        _add_styles(controls)
    elif model.translator.recipe.abilities.by_strength:
        controls.looks["strength"] = gr.Slider(
            0, 1.5, 1, step=0.05, label="Strength", info="1 is the whole change", elem_id="strength"
        )
    fits = [("whole picture", "letterbox"), ("centre", "crop")]
    controls.looks["fit"] = gr.Radio(fits, value="letterbox", label="What of the picture is translated")
    return controls


def picture_field(**options: Any) -> Any:
    """Return Gradio's field for a picture, whose value is the uploaded file whatever it holds; it must not be changed later.

    Gradio would open it by Pillow, which does not know every picture that models take, and fail with no more than its name.
    """
    made: Any = gr.Image(type="filepath", buttons=["fullscreen"], **options)
    made.preprocess = lambda payload: payload and payload.path
    return made


def words(target: Mapping[str, float]) -> str:
    """Return a target in words."""
    shown = {label.replace("_", " "): value for label, value in target.items()}
    said = (f"{'' if v else 'no '}{name}" if isinstance(v, bool) else f"{name} {v:g}" for name, v in shown.items())
    return ", ".join(said)


def _shown(labels: Sequence[str]) -> list[tuple[str, str]]:
    return [(label.replace("_", " "), label) for label in labels]


def _ending(labels: Sequence[str]) -> str:
    """Return what the names of alternatives have in common: Hair of Black_Hair and Blond_Hair."""
    endings = {label.rpartition("_")[2] for label in labels}
    return endings.pop() if len(endings) == 1 else ""


def _add_styles(controls: Controls) -> None:
    looks, own = controls.looks, [("as the target", ""), *_shown(controls.model.translator.labels)]
    _add_end(controls, "Style", 1, "")
    looks["strength"] = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="0 keeps the picture's own style")
    looks["source"] = gr.Dropdown(own, value="", label="Domain of the picture", info="What its own style is read as")
    looks["truncation"] = gr.Slider(0, 1, 1, step=0.05, label="Variety", info="0 is the mean style of the domain")
    with gr.Accordion("Between two styles", open=False):
        _add_end(controls, "Second style", 2, "2")
        blend = gr.Slider(0, 1, 0, step=0.05, label="Blend", info="0 is the first style, 1 the second", elem_id="blend")
    looks["weight"] = blend


def _add_end(controls: Controls, title: str, first: int, end: str) -> None:
    """Add where a style comes from."""
    kind = gr.Radio([SEED, REFERENCE, MEAN], value=SEED, label=title)
    seed = gr.Number(first, label="Seed", precision=0, minimum=0)
    with gr.Column(visible=False) as beside:
        like = picture_field(label="Reference", height=180, elem_id=f"reference{end}")
    controls.looks |= {f"kind{end}": kind, f"seed{end}": seed, f"like{end}": like}
    seen = [(SEED, seed), (REFERENCE, beside)]
    kind.change(lambda chosen: [gr.update(visible=chosen == word) for word, _ in seen], kind, [of for _, of in seen])
