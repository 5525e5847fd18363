"""The settings of one run: recipe, preset, and the three sections of its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asterism.config import ConfigError, DataConfig, TrainConfig, build, closest, differences, split_sections, to_dict
from asterism.recipes import known_as, origin, recipe_class
from asterism.shards import absolute
from asterism.storage.run_files import read_config


@dataclass(frozen=True)
class Settings:
    """Resolved settings; `config.json` of a run."""

    name: str
    preset: str | None
    recipe: Any
    data: DataConfig
    train: TrainConfig

    @classmethod
    def resolve(
        cls, name: str, sources: Sequence[str] = (), preset: str | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Settings:
        """Resolve defaults < preset < overrides (dotted keys: `train.steps`).

        Args:
            name: a recipe's name, or the path of its file.

        Raises:
            ConfigError: unknown recipe, preset or key; a value out of range.
        """
        name = known_as(name)
        recipe = recipe_class(name)
        if preset is not None and preset not in recipe.presets:
            raise ConfigError(f"recipe {name} has no preset {preset!r}: {closest(preset, recipe.presets)}")
        base = recipe.presets[preset] if preset else {}
        own = split_sections(overrides or {})
        if sources:
            own["data"]["sources"] = tuple(str(s) for s in sources)
        sections = {"recipe": recipe.config_type, "data": DataConfig, "train": TrainConfig}
        built = {key: build(kind, base.get(key, {}), own[key], where=f"{key}.") for key, kind in sections.items()}
        return cls(name, preset, **built)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Rebuild settings from `to_json`'s values."""
        kind = recipe_class(values["name"], values.get("recipe_from")).config_type
        sections = {"recipe": kind, "data": DataConfig, "train": TrainConfig}
        built = {key: build(section, values[key], where=f"{key}.") for key, section in sections.items()}
        return cls(values["name"], values["preset"], **built)

    @classmethod
    def of_run(cls, run: Path, data: Sequence[str] | None = None) -> Settings:
        """Read the settings of a run.

        Args:
            run: its folder.
            data: where its data are now, if not where they were.

        Raises:
            RunError: no run folder, or a damaged config.json.
            ConfigError: settings that this version does not know.
        """
        settings = cls.from_json(read_config(run))
        return replace(settings, data=replace(settings.data, sources=tuple(data))) if data else settings

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, in which the data's places are absolute: they hold wherever they are read."""
        data = to_dict(self.data) | {"sources": [absolute(source) for source in self.data.sources]}
        sections = {"recipe": to_dict(self.recipe), "data": data, "train": to_dict(self.train)}
        outside = {"recipe_from": where} if (where := origin(self.name)) else {}
        return {"name": self.name, **outside, "preset": self.preset, **sections}

    def changed_since(self, old: Mapping[str, Any]) -> list[str]:
        """List what differs from an older run's JSON and may not change on resume."""
        new = self.to_json()
        names = old["name"], self.name
        before, now = (values.get("recipe_from", name) for name, values in zip(names, (old, new), strict=True))
        if names[0] != names[1] or before.rpartition(":")[2] != now.rpartition(":")[2]:
            return [f"recipe: {before} -> {now}"]
        sections = {"recipe": self.recipe, "data": self.data, "train": self.train}
        return [text for key, own in sections.items() for text in differences(old[key], new[key], type(own), key)]
