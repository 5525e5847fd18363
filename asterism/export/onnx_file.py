"""Graphs as ONNX files (opset 20 unless another is asked for), and running them in onnxruntime."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.export.graphs import Graph, traced
from asterism.storage.model_file import ModelError
from asterism.storage.whole import write_whole

Run = Callable[[Mapping[str, Tensor]], Tensor]
"""An exported graph in use: its inputs by name, its output."""


def require(*modules: str) -> None:
    """Import what an export needs.

    Raises:
        ModelError: something is not installed; says how to install it.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ModelError(f'this export needs {name}: pip install "asterism[export]"') from error


def write_onnx(graph: Graph, path: Path, facts: Mapping[str, str], opset: int | None = None) -> None:
    """Write a graph as one ONNX file with its weights; `facts` become its metadata.

    Raises:
        ModelError: PyTorch cannot write it with the operators of that opset.
    """
    import onnx

    with silence():
        program = torch.onnx.export(
            traced(graph),
            dynamo=True,
            verbose=False,
            input_names=list(graph.inputs),
            output_names=[graph.output],
            opset_version=opset,
        )
    assert program is not None
    proto = program.model_proto
    made = next(held.version for held in proto.opset_import if held.domain in ("", "ai.onnx"))
    if opset not in (None, made):
        raise ModelError(f"PyTorch {torch.__version__} writes this model in opset {made}, not in {opset}: leave out --opset")
    _tidy(proto, graph)
    onnx.helper.set_model_props(proto, dict(facts))
    proto.producer_name = "asterism"
    onnx.checker.check_model(proto)
    write_whole(path, proto.SerializeToString(), sync=True)


def open_onnx(path: Path, threads: int = 0) -> Run:
    """Open an ONNX file in onnxruntime on the CPU, with so many threads (0: one per core)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy() for name, x in inputs.items()})[0])

    return run


def _tidy(proto: Any, graph: Graph) -> None:
    """Give the free axes their names, and leave out what tells of the machine that wrote the file (paths, stacks)."""
    sides = graph.axes("image")  # The output has the axes of its kind: a picture's, or the batch alone.
    output = sides if graph.output == "translation" else {0: "batch"}
    for value in (*proto.graph.input, *proto.graph.output):
        axes = output if value.name == graph.output else graph.axes(value.name)
        for axis, name in axes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del proto.graph.value_info[:]  # Shapes in between are named after the tracer's symbols.
    del proto.metadata_props[:]
    graph_parts = (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer)
    for part in graph_parts:
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep the exporters' remarks on themselves from the user; errors are raised as ever."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
