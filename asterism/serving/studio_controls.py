"""The studio's controls for one model, made from its label space, and the wish that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from asterism.serving.hosted import Hosted, Wish
from asterism.serving.limits import Refused
from asterism.serving.vault import Vault, safe_title

AS_IT_IS = "as it is"
MEAN, SEED, REFERENCE = "mean of the domain", "seed", "reference picture"


def vault_image(vault: Vault, **options: Any) -> gr.Image:
    """Return Gradio's picture field over the vault's files: the page's functions get bytes, none where there is no picture.

    It is no class of its own, since Gradio writes a stub file beside every module that derives one of its fields; and its
    settings must not change later, since Gradio then makes it anew, without the vault.
    """
    made: Any = gr.Image(type="filepath", **options)
    made.preprocess = lambda payload: None if payload is None else from_vault(vault, payload.path)
    return made


def vault_files(vault: Vault, **options: Any) -> gr.File:
    """Return Gradio's field for several files over the vault's: the page's functions get (title, name in the vault) pairs."""
    made: Any = gr.File(type="filepath", file_count="multiple", **options)
    made.preprocess = lambda payload: [(safe_title(f.orig_name or ""), f.path) for f in payload or ()]
    return made


def from_vault(vault: Vault, name: str) -> bytes:
    """Return the bytes of an uploaded file, or say on the page why there are none."""
    kept = vault.get(name)
    if kept is None:
        raise gr.Error("The picture is no longer here; add it again.", duration=8)
    if kept.refusal:
        raise gr.Error(sentence(kept.refusal), duration=12)
    return kept.content


def sentence(message: str) -> str:
    """Return a message of the service as the page says it."""
    return message[:1].upper() + message[1:] + "."


@dataclass
class Controls:
    """The fields of one model, in the order in which the page's functions get their values.

    Args:
        kinds: per field what it says: ("switch", label), ("choice", labels), or ("look", name).
    """

    hosted: Hosted
    fields: list[Any] = field(default_factory=list)
    kinds: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, component: Any, kind: str, what: Any) -> Any:
        """Add a field."""
        self.fields.append(component)
        self.kinds.append((kind, what))
        return component

    @property
    def switches(self) -> list[tuple[str, Any]]:
        """The labels that have a switch, with their switches."""
        return [(what, c) for (kind, what), c in zip(self.kinds, self.fields, strict=True) if kind == "switch"]

    def wish(self, values: Sequence[Any], own: Mapping[str, bool], to: Sequence[Mapping[str, bool]] = ()) -> Wish:
        """Return what the fields say.

        Args:
            values: of the fields.
            own: the labels that the source has, as far as they were read; a switch that stands as they do is no wish.
            to: targets to use in place of the one that the fields say.

        Raises:
            Refused: nothing is chosen.
        """
        said = list(zip(self.kinds, values, strict=True))
        look = {what: value for (kind, what), value in said if kind == "look"}
        return Wish(to=list(to) or [self._target(said, own)], labels=dict(own) or None, **_style(look))

    def _target(self, said: Sequence[tuple[tuple[str, Any], Any]], own: Mapping[str, bool]) -> dict[str, bool]:
        chosen = {value: True for (kind, _), value in said if kind == "choice" and value not in (None, AS_IT_IS)}
        switched = {what: bool(value) for (kind, what), value in said if kind == "switch"}
        changed = {label: value for label, value in switched.items() if own.get(label) is not value}
        target = chosen | changed
        if not target:  # Everything stands as it is: the model's own picture of the source.
            first = self.hosted.translator.model.space.dataset_span(0)
            names = self.hosted.translator.model.space.names[first]
            chosen_sets = [s for kind, s in self.kinds if kind == "choice"]
            target = {n: v for n, v in own.items() if n in names and (v or not any(n in s for s in chosen_sets))}
        if not target:
            raise Refused(422, "choose what the picture is to become")
        return target

    def title(self, wish: Wish, own: Mapping[str, bool]) -> str:
        """Return the target of a wish in words."""
        (to,) = wish.to
        assert isinstance(to, dict)
        return "labels unchanged" if own and all(own.get(label) is value for label, value in to.items()) else target_name(to)

    def every_target(self, own: Mapping[str, bool]) -> list[dict[str, bool]]:
        """Return the targets of the strip: each choice, and each switch turned over."""
        targets: list[dict[str, bool]] = []
        for kind, what in self.kinds:
            if kind == "choice":
                targets += [{label: True} for label in what]
            elif kind == "switch":
                targets.append({what: not own.get(what, False)})
        return targets


def target_name(target: Mapping[str, bool]) -> str:
    """Return a target in words."""
    return ", ".join(label.replace("_", " ") if on else f"no {label.replace('_', ' ')}" for label, on in target.items())


def make_controls(hosted: Hosted, vault: Vault) -> Controls:
    """Lay out the fields of a model in the present column of the page."""
    controls, space = Controls(hosted), hosted.translator.model.space
    only = len(space.groups) == 1
    for about in hosted.description()["groups"]:
        title, labels = about["dataset"], about["labels"]
        if about["kind"] == "one_of":
            choices = labels if only else [AS_IT_IS, *labels]
            controls.add(gr.Radio(_named(choices), value=choices[0], label="Domain" if only else title), "choice", labels)
            continue
        grouped = [label for labels_of_set in about["exclusive"] for label in labels_of_set]
        for labels_of_set in about["exclusive"]:
            radio = gr.Radio(_named([AS_IT_IS, *labels_of_set]), value=AS_IT_IS, label=_shared(labels_of_set) or title)
            controls.add(radio, "choice", labels_of_set)
        free = [label for label in labels if label not in grouped]
        if free:
            with gr.Group(elem_classes="switches"):
                for label in free:
                    switch = gr.Checkbox(False, label=label.replace("_", " "), container=False, elem_classes="switch")
                    controls.add(switch, "switch", label)
    if hosted.translator.recipe.abilities.style:
        _add_styles(controls, vault)
    controls.add(
        gr.Radio(
            [("whole picture", "letterbox"), ("centre", "crop")], value="letterbox", label="What of the picture is translated"
        ),
        "look",
        "fit",
    )
    return controls


def _named(labels: Sequence[str]) -> list[tuple[str, str]]:
    return [(label.replace("_", " "), label) for label in labels]


def _shared(labels: Sequence[str]) -> str:
    """Return what the names of alternatives have in common: Hair of Black_Hair and Blond_Hair."""
    endings = {label.rpartition("_")[2] for label in labels}
    return endings.pop() if len(endings) == 1 else ""


def _add_styles(controls: Controls, vault: Vault) -> None:
    _add_end(controls, vault, "Style", 1, "")
    strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="0 keeps the style of the source")
    controls.add(strength, "look", "strength")
    truncation = gr.Slider(0, 1, 1, step=0.05, label="Variety", info="0 is the mean style of the domain")
    controls.add(truncation, "look", "truncation")
    with gr.Accordion("Between two styles", open=False):
        _add_end(controls, vault, "Second style", 2, "2")
        blend = gr.Slider(0, 1, 0, step=0.05, label="Blend", info="0 is the first style, 1 the second", elem_id="blend")
        controls.add(blend, "look", "weight")


def _add_end(controls: Controls, vault: Vault, title: str, first_seed: int, ending: str) -> None:
    """Add where a style comes from: a seed, a reference picture, or the mean."""
    kind = controls.add(gr.Radio([SEED, REFERENCE, MEAN], value=SEED, label=title), "look", "kind" + ending)
    with gr.Column(visible=True) as by_seed:
        controls.add(gr.Number(first_seed, label="Seed", precision=0, minimum=0), "look", "seed" + ending)
    with gr.Column(visible=False) as by_picture:
        picture = vault_image(
            vault, label="Reference", sources=["upload", "clipboard"], height=180, buttons=[], elem_id=f"reference{ending}"
        )
        controls.add(picture, "look", "like" + ending)
    kind.change(
        lambda value: (gr.update(visible=value == SEED), gr.update(visible=value == REFERENCE)),
        kind,
        [by_seed, by_picture],
        show_progress="hidden",
        api_visibility="private",
    )


def _style(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a wish that the fields of a style stand for."""
    chosen: dict[str, Any] = {"fit": look.get("fit", "letterbox")}
    if "kind" not in look:
        return chosen
    chosen |= {"strength": float(look["strength"]), "truncation": float(look["truncation"])}
    chosen |= _end(look["kind"], look["seed"], look["like"], "style", "like")
    if look["weight"]:
        chosen |= {
            "weight": float(look["weight"]),
            **_end(look["kind2"], look["seed2"], look["like2"], "toward", "toward_like"),
        }
    return chosen


def _end(kind: str, seed: Any, like: bytes | None, seed_name: str, like_name: str) -> dict[str, Any]:
    if kind == SEED:
        return {seed_name: max(0, int(seed or 0))}
    if kind == REFERENCE:
        if like is None:
            raise Refused(422, "add the reference picture, or take the style from a seed")
        return {like_name: like}
    return {}
