"""Small presets on a budget of pictures: their steps, and all that is counted in steps, scaled to it."""

from __future__ import annotations

from typing import Any

from asterism.recipes.settings import Settings

LENGTHS = {
    "aster": ("coarse", "alone"),
    "diat": ("prepare_steps",),
    "discogan": ("first_steps",),
    "icgan": ("gan_steps",),
    "progan": ("level_steps",),
    "semistargan": ("ramp_steps", "pseudo_after"),
    "stargan_v2": ("diversity_steps",),
}
"""Settings of a recipe that are parts of its training, counted in steps."""


def lengths(recipe: str, seen: int, least: int = 1) -> dict[str, Any]:
    """Return the settings by which a recipe's preset `small` trains on so many pictures, and takes at least so many steps."""
    preset = Settings.resolve(recipe, ["."], "small")
    steps = max(least, seen // preset.train.batch_size)
    share = steps / preset.train.steps
    own = {f"recipe.{key}": scaled(getattr(preset.recipe, key), share) for key in LENGTHS.get(recipe, ())}
    return {"train.steps": steps, "train.decay_steps": round(share * preset.train.decay_steps)} | own


def scaled(steps: int | tuple[int, ...], share: float) -> int | tuple[int, ...]:
    """Return a number of steps, or each of several, as that share of it, at least 1."""
    return tuple(max(1, round(share * n)) for n in steps) if isinstance(steps, tuple) else max(1, round(share * steps))
