"""Graphs as PyTorch archives: `torch.export` programs, and the same compiled ahead of time."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from asterism.export.graphs import Graph, traced
from asterism.export.onnx_file import Run, silence
from asterism.storage.model_file import ModelError
from asterism.storage.whole import write_whole

FACTS = "asterism.json"
"""Where an archive holds its metadata: `torch.export.load(file, extra_files={"asterism.json": ""})` reads it."""


def write_pt2(graph: Graph, path: Path, facts: Mapping[str, str]) -> None:
    """Write a graph as a `torch.export` archive, which PyTorch loads without this library."""
    with tempfile.TemporaryDirectory() as folder, silence():
        file = Path(folder) / "graph.pt2"
        torch.export.save(traced(graph), file, extra_files={FACTS: json.dumps(dict(facts))})
        write_whole(path, file.read_bytes(), sync=True)


def open_pt2(path: Path, threads: int = 0) -> Run:
    """Open a `torch.export` archive; it computes with PyTorch's threads."""
    with silence():
        module = torch.export.load(path).module()
    return _by_name(module)


def write_aoti(graph: Graph, path: Path, facts: Mapping[str, str]) -> None:
    """Compile a graph for this kind of processor; the package needs PyTorch's runtime, in Python or in C++, and no compiler.

    Raises:
        ModelError: no C++ compiler is here, or it failed.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        raise ModelError(
            f"compiling ahead of time needs a C++ compiler, and {' or '.join(names)} is not here: install g++ or clang++, or "
            "name yours in the variable CXX; --format pt2 needs none"
        )
    with tempfile.TemporaryDirectory() as folder, silence():
        file = Path(folder) / "graph.pt2"
        try:
            torch._inductor.aoti_compile_and_package(
                traced(graph), package_path=str(file), inductor_configs={"aot_inductor.metadata": dict(facts)}
            )
        except (RuntimeError, OSError) as error:
            raise ModelError(f"compiling the {graph.name} failed: {str(error).strip()[-600:]}") from error
        write_whole(path, file.read_bytes(), sync=True)


def open_aoti(path: Path, threads: int = 0) -> Run:
    """Open a compiled package."""
    with silence():
        return _by_name(torch._inductor.aoti_load_package(str(path)))


def _by_name(module: Callable[..., Tensor]) -> Run:
    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return module(*inputs.values())

    return run
