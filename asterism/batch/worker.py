"""What a worker does with a piece of a job: it translates some pictures as `asterism translate` does on one machine.

The pictures of a piece lie in a folder of their own, as links or as copies from a store, under the names that their results are
to have; so `translate_folder` gives the very files that it would give for all of them. Runs in processes that Ray starts.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from asterism.batch.engine import answered
from asterism.batch.pieces import Item, unpacked
from asterism.batch.stores import Place, is_remote, store
from asterism.errors import AsterismError
from asterism.inference.apply import steps
from asterism.inference.folder import translate_folder
from asterism.inference.memory import available, bytes_per_pixel
from asterism.inference.outcome import FolderError, Summary
from asterism.inference.styles import Target
from asterism.inference.tiling import SHARE
from asterism.inference.translator import Translator, load
from asterism.recipes import add


@dataclass(frozen=True)
class Job:
    """What all workers are told.

    Args:
        to, out, options: as for `translate_folder`.
        model: the content of the model file, as Ray's reference.
        device, precision: as for `load`.
        cores: of a worker.
        recipes: files of recipes from outside asterism.
    """

    to: Sequence[Any]
    out: str
    options: dict[str, Any]
    model: Any
    device: str
    precision: str
    cores: int
    recipes: Sequence[str]


class Worker:
    """A model, and what it does with pieces."""

    def __init__(self, job: Job) -> None:
        import ray

        torch.set_num_threads(job.cores)
        for path in job.recipes:
            add(path)
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(ray.get(job.model))
            file.flush()
            self.translator = load(file.name, job.device, job.precision)
        self.job, self.place = job, Place(job.out)
        self.batch_size = batch_that_fits(self.translator, job.to[0], job.options["batch_size"], job.cores)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Translate a piece; return what was done as JSON, and the results where they go to a store."""
        return answered(lambda: self._piece(row))

    def _piece(self, row: dict[str, Any]) -> dict[str, Any]:
        items, failed = unpacked(row["row"]), dict[str, str]()
        problems = [str(problem) for problem in row.get("problems", [""] * len(items))]
        with tempfile.TemporaryDirectory(prefix="asterism-") as folder:
            out = Path(folder, "out") if self.place.remote else Path(self.job.out)
            files = {}
            for number, item in enumerate(items):
                if problems[number]:
                    failed[item.source] = problems[number]
                    continue
                file = Path(folder, "in", item.name + PurePosixPath(item.source).suffix)
                file.parent.mkdir(parents=True, exist_ok=True)
                _bring(item, file, row["contents"][number] if "contents" in row else None)
                files[file] = item
            summaries = list(self._translated(files, Path(folder, "in"), out, failed))
            done = self._done(items, files, summaries, out, failed)
            if not self.place.remote:
                return {"done": json.dumps(done)}
            names = [name for _, _, made in done["sources"] for name in made]
            contents = [(out / name).read_bytes() for name in names]
        return {"done": json.dumps(done), "names": names, "results": contents}

    def _translated(self, files: dict[Path, Item], folder: Path, out: Path, failed: dict[str, str]) -> Iterator[Summary]:
        """Translate a folder of files; if one of them ends the work by an error, each alone, so that the others are done."""
        here = [file for file in files if file.is_relative_to(folder)]
        if not here:
            return
        options = {"overwrite": True} | self.job.options | {"batch_size": self.batch_size}
        inputs, target = [folder], out
        if files[here[0]].film:  # Folders are searched for pictures only.
            inputs, target = here, out / here[0].relative_to(folder).parent
        try:
            yield translate_folder(self.translator, inputs, self.job.to, target, **options)
        except AsterismError:
            raise
        except Exception as error:  # Such as memory that one picture is too large for.
            if len(here) == 1:
                failed[files[here[0]].source] = f"{type(error).__name__}: {error}"
                return
            for number, file in enumerate(here):
                own = Path(f"{folder}-{number}")
                alone = own / file.relative_to(folder)
                alone.parent.mkdir(parents=True)
                files[file.rename(alone)] = files[file]
                yield from self._translated(files, own, out, failed)

    def _done(
        self, items: Sequence[Item], files: dict[Path, Item], summaries: Sequence[Summary], out: Path, failed: dict[str, str]
    ) -> dict[str, Any]:
        """Return what is to be known of a piece: sources with their states and results, those that failed, and remarks."""
        by_name = {item.name: item for item in items}
        by_stem = {PurePosixPath(item.name).name: item for item in items}
        made: dict[str, list[str]] = {item.source: [] for item in items}
        clipped, notes, kept = list[tuple[str, float]](), list[str](), 0
        for summary in summaries:
            failed |= {files[Path(path)].source: reason for path, reason in summary.skipped}
            clipped += [(files[Path(path)].source, share) for path, share in summary.clipped]
            notes, kept = notes + summary.notes, kept + len(summary.kept)
            for path in (*summary.written, *summary.kept):
                name = path.relative_to(out).as_posix()
                ends = [at for at in range(len(name)) if name.startswith("__", at)]
                item = next(
                    (held[name[:at]] for held in (by_name, by_stem) for at in reversed(ends) if name[:at] in held), None
                )
                if item is None and len(items) == 1:
                    (item,) = items
                if item is None:
                    raise FolderError(f"{name} is a result of none of {', '.join(by_name)}: shorten the names of the sources")
                made[item.source].append(name)
        lost = [s for s, names in made.items() if not names and s not in failed]
        failed |= dict.fromkeys(lost, "it gave no result: its name is hidden, or it was removed meanwhile")
        return {
            "out": self.job.out,
            "sources": [(item.source, item.state, made[item.source]) for item in items if item.source not in failed],
            "failed": failed,
            "clipped": clipped,
            "notes": notes,
            "kept": kept,
            "beyond": next((s.beyond for s in summaries if s.beyond), ""),
        }


def _bring(item: Item, file: Path, content: Any) -> None:
    """Let a file be what a source is: a link to it, or its content."""
    if not is_remote(item.source):
        os.symlink(item.source, file)
    elif item.film:
        fs, path = store(item.source)
        fs.get_file(path, str(file))
    else:
        file.write_bytes(content)


def batch_that_fits(translator: Translator, to: str, most: int, cores: int) -> int:
    """Return how many pictures at once, at most `most`, a worker's share of the free memory holds.

    Args:
        to: one of the targets.
        cores: of each worker of this machine; without a GPU as many workers share its memory as it holds.
    """
    picture, machine = translator.model.picture, translator.machine
    free = available(machine)
    if free is None or most < 2:
        return most
    if machine.device.type != "cuda":
        free //= max(1, (os.cpu_count() or 1) // cores)
    x = machine.take(torch.zeros(1, picture.taken.channels, picture.height, picture.width))
    labels = x.new_zeros(1, translator.model.space.num_labels)
    with torch.no_grad(), machine.backend_flags(), machine.autocast():
        told, s = steps(translator, x, Target(translator.parse(to)), labels)[0]
    each = bytes_per_pixel(translator, told, s) * picture.height * picture.width
    return max(1, min(most, int(SHARE * free / each)))
