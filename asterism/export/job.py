"""The job of `asterism export`: write a model in another format, run it, and compare it with the translator."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from asterism.export import archive, int8, onnx_file
from asterism.export.facts import facts_of
from asterism.export.graphs import Graph, graphs_of
from asterism.export.onnx_file import Run, require
from asterism.export.parity import WANTED_PSNR, Difference, Trial, found, milliseconds, trial
from asterism.export.samples import Samples, find_samples, no_pictures
from asterism.inference.translator import Translator
from asterism.recipes.base import Recipe
from asterism.recipes.model import Model, load_model
from asterism.storage.model_file import FILE_NAME, ModelError, find_model
from asterism.storage.whole import writing
from asterism.wording import byte_size

PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True)
class Format:
    """A kind of file: its ending, how a graph is written and run, and the modules that it takes."""

    suffix: str
    write: Callable[[Graph, Path, Mapping[str, str]], None]
    open: Callable[[Path, int], Run]
    modules: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(".onnx", onnx_file.write_onnx, onnx_file.open_onnx, ("onnx", "onnxscript", "onnxruntime")),
    "pt2": Format(".pt2", archive.write_pt2, archive.open_pt2),
    "aoti": Format(".aoti.pt2", archive.write_aoti, archive.open_aoti),
}


@dataclass(frozen=True)
class Exported:
    """What was written and how it compares.

    Args:
        files: name of the graph -> its file.
        differences: name of the graph -> its difference from the translator.
        psnr: of int8, in dB against the float32 file; none otherwise.
        agreement: of int8, the share of labels that a classifier finds alike in its translations and in float32's.
        speed: how many times faster than PyTorch the main graph is, one picture at a time.
        origin: what pictures it was compared on.
    """

    files: Mapping[str, Path]
    differences: Mapping[str, Difference]
    psnr: float | None
    agreement: float | None
    speed: float
    origin: str


def export(
    run: str | os.PathLike[str],
    format: str = "onnx",
    *,
    precision: str = "float32",
    data: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    opset: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write a model's graphs, one file each, run them, and compare them with the translator on pictures.

    The main graph's file is `out`, that of another graph has the graph's name before its ending. Files come into place
    only when all of them agree with the translator.

    Args:
        run: a run folder, a model file, or a hub name.
        format: onnx; pt2, what `torch.export` writes; aoti, the same compiled for this kind of processor.
        precision: float32; float16; int8, for onnx: the main graph in integers, the others in float32.
        data: pictures to calibrate and to compare on; none takes those of the run. Models that take none have latents.
        out: the main file; none takes `export/model.<precision>.<format>` in the run, or here for a hub name.
        overwrite: replace files that are there.
        opset: for onnx, the version of its operators; none takes PyTorch's choice.
        tell: takes lines for a person.

    Raises:
        ModelError: a model, format or precision that does not go, files that are there, or a difference above tolerance.
    """
    kind, model_path = _checked(format, precision), find_model(run)
    if opset is not None and format != "onnx":
        raise ModelError(f"the opset is a version of ONNX's operators, and {format} has none: leave out --opset")
    require(*kind.modules)
    write = partial(onnx_file.write_onnx, opset=opset) if format == "onnx" else kind.write
    folder = model_path.parent if Path(run).exists() else None
    main = Path(out) if out else (folder or Path()) / "export" / f"model.{precision}{kind.suffix}"
    model = load_model(model_path)
    taken = model.picture.taken
    if precision == "float16" and taken.classes and (taken.channels == 2 or taken.classes > 2048):
        raise ModelError("float16 does not tell so many ids apart: take --precision float32 or int8")
    if main.is_dir():
        raise ModelError(f"{main} is a folder; --out names the file, such as {main / f'model{kind.suffix}'}")
    graphs = graphs_of(model, precision)
    files = {g.name: main if i == 0 else _beside(main, kind.suffix, g.name) for i, g in enumerate(graphs)}
    there = [str(path) for path in files.values() if path.exists()]
    if there and not overwrite:
        raise ModelError(f"{', '.join(there)} would be replaced: give another --out, or say --overwrite")
    if any("image" in graph.inputs for graph in graphs):
        samples = find_samples(folder if model_path.name == FILE_NAME else None, model.picture, data, precision != "int8")
    elif data:
        raise ModelError(
            f"a model of {model.name} takes no pictures, so none can be compared or calibrated on: leave out --data"
        )
    else:
        samples = no_pictures(model.picture)
    translator = Translator(model, "cpu", "float32")
    tried = trial(translator, graphs, samples.compared)
    with ExitStack() as stack:  # All files come into place, or none.
        written = {name: stack.enter_context(writing(path)) for name, path in files.items()}
        for graph in graphs:
            write(graph, written[graph.name], facts_of(model, graph, "float32" if precision == "int8" else precision))
        psnr = agreement = None
        if precision == "int8":
            psnr, agreement = _quantized(translator, graphs[0], written[graphs[0].name], samples, tried, folder, tell)
        runs = {g.name: kind.open(written[g.name], torch.get_num_threads()) for g in graphs}
        results = {name: run(tried.inputs[name]) for name, run in runs.items()}
        differences = {name: Difference.of(y, tried.wanted[name]) for name, y in results.items()}
        tell(f"compared on {samples.origin}")
        for name, difference in differences.items():
            tell(f"{name:14} differs by at most {difference.largest:.2g}, by {difference.mean:.2g} in the mean")
            if precision != "int8" or name != graphs[0].name:
                difference.check(name, "float32" if precision == "int8" else precision)
        speed = _speed(model, graphs[0], runs[graphs[0].name], tried, tell)
        runs.clear()  # Some systems do not move a file that is open.
    for path in files.values():
        tell(f"{path} ({byte_size(path.stat().st_size)})")
    return Exported(files, differences, psnr, agreement, speed, samples.origin)


def _checked(format: str, precision: str) -> Format:
    if format not in FORMATS:
        raise ModelError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if precision not in PRECISIONS:
        raise ModelError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if precision == "int8" and format != "onnx":
        raise ModelError(f"int8 is for onnx only; {format} takes float32 or float16")
    return FORMATS[format]


def _beside(main: Path, suffix: str, graph: str) -> Path:
    """faces.onnx -> faces.classifier.onnx"""
    ending = suffix if main.name.endswith(suffix) else main.suffix
    return main.with_name(f"{main.name.removesuffix(ending)}.{graph}{ending}")


def _quantized(
    translator: Translator,
    graph: Graph,
    path: Path,
    samples: Samples,
    tried: Trial,
    folder: Path | None,
    tell: Callable[[str], None],
) -> tuple[float, float | None]:
    """Replace a float32 file by its int8 form; return its PSNR against float32 and the share of labels that still agree."""
    exact = onnx_file.open_onnx(path)(tried.inputs[graph.name])
    calibration = trial(translator, [graph], samples.calibration, seed=1).inputs[graph.name]
    batches = [{name: x[i : i + 1] for name, x in calibration.items()} for i in range(len(samples.calibration))]
    rounded, difference = exact, Difference.of(exact, exact)
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "float32.onnx"
        shutil.copyfile(path, source)
        for kept in int8.exemptions(source):
            int8.quantize(source, path, batches, facts_of(translator.model, graph, "int8"), kept)
            rounded = onnx_file.open_onnx(path)(tried.inputs[graph.name])
            difference = Difference.of(rounded, exact)
            tell(
                f"int8: {difference.psnr:.1f} dB PSNR against float32, calibrated on {len(batches)} samples; in float32 stay "
                f"{len(kept)} convolutions: {', '.join(kept)}"
            )
            if difference.psnr >= WANTED_PSNR:
                break
    difference.check(graph.name, "int8")
    judge = _judge(translator.model, folder)
    if judge is None or not translator.recipe.abilities.translates:
        return difference.psnr, None
    space = translator.model.space
    before, after = found(judge, exact, space), found(judge, rounded, space)
    agreement = float((before == after).float().mean())
    right = [float((labels == tried.labels).float().mean()) for labels in (before, after)]
    tell(
        f"int8: a classifier agrees on {agreement:.1%} of the labels; of the wanted labels {right[0]:.1%} in float32's "
        f"translations, {right[1]:.1%} in int8's"
    )
    return difference.psnr, agreement


def _judge(model: Model, folder: Path | None) -> Recipe | None:
    """Return what tells labels: the classifier that an evaluation trained in the run, else the model's own class head."""
    for trained in sorted((folder / "classifier").glob(f"*/{FILE_NAME}")) if folder else ():
        return load_model(trained).recipe
    return model.recipe if model.recipe.abilities.judges and not model.missing else None


def _speed(model: Model, graph: Graph, run: Run, tried: Trial, tell: Callable[[str], None]) -> float:
    """Time the main graph against PyTorch in float32, one picture at a time with the same threads."""
    one = {name: x[:1] for name, x in tried.inputs[graph.name].items()}
    (plain, *_) = graphs_of(model)

    def pytorch() -> Tensor:
        with torch.no_grad():
            return plain.module(*one.values())

    before, after = milliseconds(pytorch, lambda: run(one))
    tell(f"one picture takes {after:.1f} ms, in PyTorch {before:.1f} ms ({before / after:.2f} times as fast, CPU)")
    return before / after
