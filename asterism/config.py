"""Configuration: frozen dataclasses that come from presets, JSON and dotted keys through one checked path.

A run has three sections, `recipe.*` (declared in the recipe's own file), `data.*` and `train.*` (declared here).
Every field carries its help, unit and range; the command line's help and the documentation are made from them.
Precedence: defaults < preset < the user's overrides.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from asterism.errors import AsterismError

T = TypeVar("T")

Precision = Literal["auto", "bfloat16", "float32", "float64"]
PRECISIONS: tuple[str, ...] = typing.get_args(Precision)


class ConfigError(AsterismError, ValueError):
    """A key or value that the configuration cannot take; the message says what it would take."""


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    resumable: bool = False,
) -> Any:
    """Declare a field: its default, one sentence of help, unit, inclusive range.

    A `resumable` field may differ when a run is resumed; any other difference is refused.
    """
    return field(default=default, metadata={"help": help, "unit": unit, "low": low, "high": high, "resumable": resumable})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What to read and how a picture becomes an input."""

    sources: tuple[str, ...] = option((), "Folders or tables, in order; given by repeating --data.", resumable=True)
    size: tuple[int, int] = option((128, 128), "Height and width that the networks see: 128 or 128x96.", unit="pixels", low=1)
    crop: int = option(
        0, "Side of the centre crop before resizing; 0 takes the largest centred area of the right shape.", unit="pixels", low=0
    )
    flip: bool = option(True, "Mirror half of the training pictures left to right.")
    zoom: float = option(
        1.0,
        "Smallest share of the area that random crops keep, in half of the training pictures; 1 crops none.",
        low=0.1,
        high=1,
    )
    labels: str = option("", "Label columns to use, comma-separated; empty takes every column that holds labels.")
    pattern: str = option("", "Labels from file names, in place of folders: {age}_{gender}_* reads 25_1_x.jpg.")
    exclusive: str = option("", "Labels of which exactly one holds: A,B,C; several sets separated by ';'. Empty infers them.")
    conflicts: str = option("", "Labels that exclude each other, of which a picture may have none: A|B, or A|B,C|D,....")
    numbers: str = option(
        "", "Columns that hold numbers from 0 to 1, or in a range of their own: A,B or A:0:5. An empty cell is unknown."
    )
    unlabelled: Literal["leave", "keep"] = option(
        "leave", "Pictures without a label: of a table those without a row, of folders those in a folder named unlabelled."
    )
    pairs: Literal["AtoB", "BtoA", "names"] | None = option(
        None, "Pictures are pairs, of equal names or side by side, and which domain comes first; names: in two folders or more."
    )
    classes: int | None = option(
        None,
        "Classes of the label maps that pairs lead from, whose values are ids from 0 on; none finds out, 0 reads pictures.",
        low=0,
    )
    channels: int | None = option(None, "Channels to convert every picture to; none takes what the files have.", low=1)
    value_range: tuple[float, float] | None = option(
        None, "Stored values that map to -1 and 1; none takes the full range of the file's depth."
    )
    source_range: tuple[float, float] | None = option(
        None, "The same for the sources of pairs, where their values mean something else; none takes value_range."
    )
    balance: bool = option(False, "Draw every label equally often, regardless of its number of pictures.")
    workers: int | None = option(
        None, "Decoding processes; none chooses by the machine, 0 decodes in the training process.", low=0, resumable=True
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how to train; all of it belongs to the engine."""

    steps: int = option(200_000, "Training steps.", unit="steps", low=1, resumable=True)
    decay_steps: int = option(100_000, "Last steps, over which the learning rate falls linearly to zero.", unit="steps", low=0)
    epochs: float | None = option(
        None, "Length in passes over the largest dataset; replaces steps.", unit="epochs", low=0, resumable=True
    )
    decay_epochs: float | None = option(None, "Decay in passes; replaces decay_steps.", unit="epochs", low=0)
    batch_size: int = option(16, "Pictures per step and dataset, over all processes and micro-batches.", low=1)
    accumulate: int = option(1, "Micro-batches that one batch is split into to save memory.", low=1, resumable=True)
    checkpoint_activations: bool = option(
        False,
        "Recompute activations in the backward pass instead of storing them: less memory, about a third more time.",
        resumable=True,
    )
    seed: int = option(0, "Every random choice is a function of it, the step and the sample's position.", low=0, high=2**32)
    ema_kimg: float = option(10.0, "Half-life of the averaged weights; 0 keeps no average.", unit="thousand pictures", low=0)
    ema_ramp: float = option(
        0.05, "Early half-life as a share of the pictures seen; 0 uses the full half-life from the start.", low=0, high=1
    )
    precision: Precision = option(
        "auto",
        "Arithmetic of the convolutions; losses and penalties are at least float32. float64 is slow, for comparing runs.",
        resumable=True,
    )
    compile: Literal["auto", "on", "off"] = option("auto", "Compile and record updates; auto does on CUDA.", resumable=True)
    device: str = option("auto", "Where to train: auto, cpu, mps, cuda, or cuda:1 for the second GPU.", resumable=True)
    log_every: int = option(50, "Steps between lines of the log.", unit="steps", low=1, resumable=True)
    preview_every: int = option(1000, "Steps between previews.", unit="steps", low=1, resumable=True)
    evaluate_every: int = option(
        1000,
        "Steps between measurements by the quick protocol, which choose the best checkpoint; 0 measures nothing.",
        unit="steps",
        low=0,
        resumable=True,
    )
    patience: int = option(
        0, "End the run after this many measurements without improvement; 0 never ends it early.", low=0, resumable=True
    )
    checkpoint_every: int = option(
        1000, "Steps between checkpoints; a killed run loses at most these.", unit="steps", low=1, resumable=True
    )
    keep: int = option(2, "Checkpoints to keep.", low=1, resumable=True)
    licence: str = option("", "Licence of the weights: CC BY 4.0. Fine-tuning keeps the original's.", resumable=True)
    max_skipped: int = option(20, "Non-finite steps in a row that end the run.", unit="steps", low=1, resumable=True)


def closest(name: str, valid: Iterable[str]) -> str:
    """Say which of the `valid` names is meant by `name`, for the end of an error message."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(names) or '(none)'}"


def fields_of(cls: type) -> dict[str, dataclasses.Field]:
    """Return the fields of a configuration dataclass by name."""
    return {f.name: f for f in dataclasses.fields(cls)}


def build(cls: type[T], *layers: Mapping[str, Any], where: str = "") -> T:
    """Build a configuration from layers of values; a later layer wins.

    Values may be text (from a command line), JSON values or Python values.

    Raises:
        ConfigError: an unknown name, with the closest valid one; a value of the wrong type or out of range.
    """
    hints, declared = typing.get_type_hints(cls), fields_of(cls)
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in declared:
                raise ConfigError(f"{where}{name} is not an option: {closest(where + name, [where + n for n in declared])}")
            values[name] = _convert(value, hints[name], declared[name].metadata, where + name)
    return cls(**values)


def to_dict(config: Any) -> dict[str, Any]:
    """Return the configuration as JSON values; `build` takes them back."""
    return {name: list(v) if isinstance(v := getattr(config, name), tuple) else v for name in fields_of(type(config))}


def split_sections(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort dotted keys (`train.steps`) into the sections recipe, data and train.

    Raises:
        ConfigError: a key without one of the three sections.
    """
    sections: dict[str, dict[str, Any]] = {"recipe": {}, "data": {}, "train": {}}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        if section not in sections or not name:
            everything = [f"{s}.{n}" for s, c in (("data", DataConfig), ("train", TrainConfig)) for n in fields_of(c)]
            candidates = [k for k in everything if k.endswith("." + key)] or everything
            raise ConfigError(
                f"{key} is not an option (keys look like train.steps, data.size, recipe.NAME): {closest(key, candidates)}"
            )
        sections[section][name] = value
    return sections


def differences(old: Mapping[str, Any], new: Mapping[str, Any], cls: type, where: str) -> list[str]:
    """List the keys whose values differ and that a resumed run may not change, as 'where.key: old -> new'."""
    fixed = [name for name, f in fields_of(cls).items() if not f.metadata.get("resumable")]
    before = to_dict(cls()) | dict(old)  # A run of an earlier version lacks what has been added since.
    return [f"{where}.{n}: {before[n]} -> {new.get(n)}" for n in fixed if before[n] != new.get(n)]


def _convert(value: Any, kind: Any, limits: Mapping[str, Any], where: str) -> Any:
    """Bring a text, JSON or Python value to the declared type and check its range."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), limits, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; expected one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments, limits, where)
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
        found = value if isinstance(value, bool) else words.get(str(value).lower())
        if found is None:
            raise ConfigError(f"{where} is {value!r}; expected true or false")
        return found
    if kind is str:
        return str(value)
    try:
        number = kind(value)
        if isinstance(value, bool) or not math.isfinite(number) or (kind is int and float(value) != number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{where} is {value!r}; expected {'a whole number' if kind is int else 'a number'}") from None
    low, high = limits.get("low"), limits.get("high")
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ConfigError(f"{where} is {number}; expected {bounds}")
    return number


def _convert_tuple(value: Any, arguments: tuple[Any, ...], limits: Mapping[str, Any], where: str) -> tuple[Any, ...]:
    words = isinstance(value, str) and arguments[0] is not str  # A path may hold a comma.
    items = [part for part in value.replace("x", ",").split(",") if part] if words else value
    items = [*items] if isinstance(items, (list, tuple)) else [items]
    if arguments[-1] is Ellipsis:
        return tuple(_convert(v, arguments[0], limits, where) for v in items)
    if len(items) == 1 and arguments[0] is int:  # 64 means 64x64.
        items = items * len(arguments)
    if len(items) != len(arguments):
        example = "x".join(["64"] * len(arguments)) if arguments[0] is int else "0,4095"
        raise ConfigError(f"{where} is {value!r}; expected {len(arguments)} values, such as {example}")
    return tuple(_convert(v, a, limits, where) for v, a in zip(items, arguments, strict=True))
