"""The tables of terms, as written or compiled: one graph each, which `torch.compile` fuses."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from asterism.data.batch import Batch
from asterism.networks.cpu.normalization import outputs_made_again
from asterism.recipes.base import Recipe

COMPILERS = ("c++", "g++", "clang++", "cl")
"""C++ compilers for CPU code; the variable CXX may name another."""


class CompiledTerms:
    """Makes a recipe's tables of terms, and what its updates share.

    What is compiled is one graph without breaks, for static shapes: it is compiled at its first use and, batches being of
    one size, never again, but for a table that meets shared tensors in some steps and not in others.

    Args:
        recipe: whose tables.
        device: where it is.
        choice: auto, on or off.
        recomputed: activations are computed twice, which `auto` leaves uncompiled: the two were not tried together on a GPU.
            So it does a function of the caller's, of which nothing is known.

    Attributes:
        compiled: whether tables are compiled.
        reason: that, and why, in a few words.
        note: where nothing is compiled, is told of every tensor that is kept for a backward pass.
    """

    def __init__(self, recipe: Recipe, device: torch.device, choice: str, recomputed: bool = False) -> None:
        self.recipe = recipe
        self.compiled, self.reason = decide(device, choice)
        doubts = ["activations are computed twice"] * recomputed + ["masks are made by a given function"] * recipe.calls_out
        if choice == "auto" and self.compiled and doubts:
            self.compiled, self.reason = False, f"not compiled (auto, since {doubts[0]})"
        self.note: Callable[[Tensor], object] | None = None
        self.graphs: dict[Hashable, Callable[..., Any]] = {}

    def call(self, name: str, batch: Batch, *arguments: Tensor, fixed: tuple[Any, ...] = (), eager: bool = False) -> Any:
        """Return what a method of the recipe makes of the batch: `<update>_terms` its table, `share` what updates share.

        Args:
            fixed: further arguments, no tensors; with the phase they tell one compilation of the method from another.
            eager: the method differentiates a gradient: it is neither compiled nor may it lose what a norm made.
        """
        method = getattr(self.recipe, name)
        if eager:
            return method(batch, *arguments, *fixed)
        if not self.compiled:
            with outputs_made_again(self.note):
                return method(batch, *arguments, *fixed)
        key = (name, fixed, self.recipe.phase)
        if key not in self.graphs:

            def graph(tensors: dict[str, Tensor], *arguments: Tensor) -> Any:
                return method(Batch(**tensors), *arguments, *fixed)

            own = "_".join(map(str, (name, *fixed, self.recipe.phase)))  # Compilations are counted, and limited, by code.
            graph.__code__ = graph.__code__.replace(co_name=own)
            self.graphs[key] = torch.compile(graph, fullgraph=True, dynamic=False)
        return self.graphs[key](dict(batch.items()), *arguments)


def decide(device: torch.device, choice: str) -> tuple[bool, str]:
    """Say whether to compile and why.

    `auto` compiles on NVIDIA GPUs. On CPUs nearly all of the time is in the library's convolutions, which compilation leaves
    as they are, and small maps and norms are written by hand (docs/performance.md).
    """
    if choice == "off":
        return False, "not compiled (asked for)"
    if choice == "auto" and device.type != "cuda":
        return False, f"not compiled (auto on {device.type})"
    if device.type == "cuda":
        missing = "" if importlib.util.find_spec("triton") else "Triton"
    else:
        missing = "" if any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))) else "a C++ compiler"
    if missing:
        return False, f"not compiled (compiling needs {missing}, which is not installed)"
    return True, f"updates compiled ({'asked for' if choice == 'on' else 'auto'}; the first steps take minutes)"
