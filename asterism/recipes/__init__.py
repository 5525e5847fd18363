"""The recipes by name: asterism's own, one file each; those of installed packages; and files that a user names.

A package declares recipes as entry points of the group `asterism.recipes`, name = "module:Class". A file is made known by
its path: `add`, `asterism train PATH`, `--recipe PATH`, or the environment variable ASTERISM_RECIPES.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asterism.config import ConfigError, closest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

RECIPES = {
    "aster": "asterism.recipes.aster:Aster",
    "stargan": "asterism.recipes.stargan:StarGAN",
    "fixed_point": "asterism.recipes.fixed_point:FixedPointGAN",
    "relgan": "asterism.recipes.relgan:RelGAN",
    "stgan": "asterism.recipes.stgan:STGAN",
    "attgan": "asterism.recipes.attgan:AttGAN",
    "diat": "asterism.recipes.diat:DIAT",
    "icgan": "asterism.recipes.icgan:IcGAN",
    "semistargan": "asterism.recipes.semistargan:SemiStarGAN",
    "ganimation": "asterism.recipes.ganimation:GANimation",
    "stargan_v2": "asterism.recipes.stargan_v2:StarGANv2",
    "cyclegan": "asterism.recipes.cyclegan:CycleGAN",
    "discogan": "asterism.recipes.discogan:DiscoGAN",
    "pix2pix": "asterism.recipes.pix2pix:Pix2Pix",
    "pix2pixhd": "asterism.recipes.pix2pixhd:Pix2PixHD",
    "stargan_vc": "asterism.recipes.stargan_vc:StarGANVC",
    "progan": "asterism.recipes.progan:ProGAN",
    "dcgan": "asterism.recipes.dcgan:DCGAN",
    "wgan": "asterism.recipes.wgan:WGAN",
    "wgan_gp": "asterism.recipes.wgan_gp:WGANGP",
    "infogan": "asterism.recipes.infogan:InfoGAN",
    "lapgan": "asterism.recipes.lapgan:LAPGAN",
}

JUDGES = {
    "classifier": "asterism.recipes.classifier:Classifier",
    "pixel_classifier": "asterism.recipes.pixel_classifier:PixelClassifier",
    "projector": "asterism.manifold.projector:Projector",
}
"""Recipes that make no pictures: evaluation trains the first two for itself, the last one reads the codes of a model."""

VARIABLE = "ASTERISM_RECIPES"
"""Names the environment variable that holds paths of recipe files, separated by `os.pathsep`."""

FILE = re.compile(r"(.*\.py)(?::(\w+))?", re.DOTALL)
"""The path of a recipe's file, and after a colon the class in it."""

_added: dict[str, tuple[Any, str]] = {}  # Name -> the class, and where it comes from.


def recipe_class(name: str, trained_from: str | None = None) -> Any:
    """Return the recipe class of that name; imported here, since a recipe's file imports PyTorch.

    A name is never taken for a path, so that what a model file says is not run.

    Args:
        name: as `asterism list` shows it.
        trained_from: of a model: what `origin` said of its recipe when it was trained.

    Raises:
        ConfigError: no such recipe, with the closest name or with what makes the model's recipe known; a class other than
            the model's; a package's recipe that cannot be imported.
    """
    own = (RECIPES | JUDGES).get(name)
    if own is None and name not in _added and name in (named := _in_environment()):
        add(named[name])
    if own is not None:
        module, _, attribute = own.partition(":")
        kind = getattr(importlib.import_module(module), attribute)
    elif name in _added:
        kind = _added[name][0]
    elif name in (points := installed()):
        try:
            loaded = points[name].load()
        except Exception as error:
            where = f"recipe {name!r} of {origin(name)}"
            raise ConfigError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
        kind = _checked(loaded)
        _added[name] = kind, origin(name) or name
    elif trained_from is None:
        raise ConfigError(f"no recipe {name!r}: {closest(name, names())}; a recipe of your own is named by its file, FILE.py")
    else:
        raise ConfigError(
            f"recipe {name!r} is not part of asterism, and this model was trained from {trained_from}: give --recipe PATH (in "
            f"Python, asterism.recipes.add(PATH)), set {VARIABLE}, or install the package that declares it"
        )
    wanted = kind.__name__ if trained_from is None else trained_from.rpartition(":")[2]
    if kind.__name__ != wanted:
        raise ConfigError(
            f"recipe {name!r} is the class {kind.__name__} here, and this model was trained from {trained_from}: name that "
            f"class, as --recipe PATH:{wanted}"
        )
    return kind


def add(recipe: str | os.PathLike[str] | type, name: str | None = None) -> str:
    """Make a recipe from outside this package known under a name, for training and for the models that it trained.

    Args:
        recipe: a Python file, which is run: `my_recipe.py`, or `my_recipe.py:MyGAN` where it holds several recipes. It may
            import files beside it. Or a class that builds on `asterism.recipes.base.Recipe`.
        name: none takes the file's name without its suffix, or the class's.

    Returns:
        The name.

    Raises:
        ConfigError: no such file, an error in it, no recipe or several in it, a class that is no recipe, or a name that
            another recipe has.
    """
    path = wanted = None
    if isinstance(recipe, type):
        name = name or recipe.__name__
    else:
        found = FILE.fullmatch(os.fspath(recipe))
        if not found:
            raise ConfigError(f"{recipe} is no recipe's file: expected a Python file, such as my_recipe.py")
        path, wanted = Path(found[1]).expanduser().absolute(), found[2]
        name = name or path.stem
    if name in RECIPES | JUDGES:
        raise ConfigError(f"{recipe}: asterism has a recipe {name!r} of its own; take another name")
    kind = _in_file(path, wanted, f"asterism_recipe_{name}") if path else _checked(recipe)
    where = f"{path or kind.__module__}:{kind.__name__}"
    if name in _added and _added[name][1] != where:
        raise ConfigError(f"{where}: recipe {name!r} is {_added[name][1]} already; take another name")
    _added[name] = kind, where
    return name


def known_as(word: str) -> str:
    """Return the name of the recipe that a user means by its name or by the path of its file, which is then added."""
    return add(word) if FILE.fullmatch(word) else word


def names() -> list[str]:
    """Return the names of all recipes that a user can train, asterism's own first."""
    return list(dict.fromkeys((*RECIPES, *installed(), *_in_environment(), *_added)))


def origin(name: str) -> str | None:
    """Say where a recipe comes from, its class after the last colon: a file, a package; None of one of asterism's own."""
    if name in RECIPES | JUDGES:
        return None
    if name in _added:
        return _added[name][1]
    point = installed().get(name)
    return f"{point.dist.name} {point.dist.version}: {point.value}" if point and point.dist else None


def files_outside() -> set[str]:
    """Return the files of the recipes from outside asterism that were run."""
    return {str(getattr(sys.modules.get(kind.__module__), "__file__", "")) for kind, _ in _added.values()}


def installed() -> dict[str, EntryPoint]:
    """Return the recipes that installed packages declare, by name, without importing them."""
    from importlib.metadata import entry_points  # Slow to import.

    return {point.name: point for point in entry_points(group="asterism.recipes") if point.name not in RECIPES | JUDGES}


def _in_environment() -> dict[str, str]:
    """Return the paths that the environment variable holds, by the names of their recipes."""
    between = re.escape(os.pathsep) + rf"(?!\w+(?:{re.escape(os.pathsep)}|$))"  # A colon may also precede a class.
    paths = [path for path in re.split(between, os.environ.get(VARIABLE, "")) if path]
    return {Path(path.partition(".py:")[0]).name.removesuffix(".py"): path for path in reversed(paths)}


def _in_file(path: Path, wanted: str | None, module_name: str) -> Any:
    """Run a file as a module of that name and return its recipe class, or of several the one that is wanted."""
    from asterism.recipes.base import Recipe

    if not path.is_file():
        raise ConfigError(f"there is no recipe's file {path}")
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # Last, so that files beside it hide no module that is installed.
    sys.modules[module_name] = module  # Before it runs: a dataclass looks its module up.
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} cannot be read as a recipe: {type(error).__name__}: {error}") from error
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Recipe)]
    there = {kind.__name__: kind for kind in kinds if kind.__module__ == module_name}
    if not there:
        raise ConfigError(f"{path} holds no recipe: expected a class that builds on asterism.recipes.base.Recipe")
    if wanted is not None and wanted not in there:
        raise ConfigError(f"{path} holds no recipe {wanted!r}: {closest(wanted, there)}")
    if wanted is None and len(there) > 1:
        raise ConfigError(f"{path} holds several recipes, {', '.join(there)}: name one, as {path.name}:{next(iter(there))}")
    return _checked(there[wanted or next(iter(there))])


def _checked(kind: Any) -> Any:
    """Return a class that can be trained.

    Raises:
        ConfigError: it is no recipe, or lacks a configuration.
    """
    from asterism.recipes.base import Recipe

    if not (isinstance(kind, type) and issubclass(kind, Recipe)):
        raise ConfigError(f"{kind!r} is no recipe: expected a class that builds on asterism.recipes.base.Recipe")
    try:
        kind.config_type()
    except (AttributeError, TypeError) as error:
        raise ConfigError(f"{kind.__name__} needs config_type, a dataclass whose fields all have defaults: {error}") from error
    return kind
