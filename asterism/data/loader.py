"""Loading: batches of pictures at their stored depth, the same for any number of worker processes and of ranks."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.config import DataConfig
from asterism.data.arrays import STORED, Array
from asterism.data.batch import Batch
from asterism.data.dataset import PictureSet
from asterism.data.listing import DataError
from asterism.data.pictures import PictureError, PictureFormat
from asterism.data.reading import read_or_replace
from asterism.data.sampling import Sampler, Stream, StreamSampler, balanced_weights, crop_shares, windows
from asterism.signals import SIGHUP

CACHE_BYTES = 2**30
"""Without workers, training sets up to this decoded size are decoded only once."""

STEPS_AHEAD = 2
"""Batches that each worker prepares in advance."""

RESIDENT_SHARE = 0.25
"""Share of the free CUDA memory that packed training sets may use to stay on the device."""

GRACE_SECONDS = 20
"""Time that workers continue after SIGTERM, while the training process finishes its step and saves."""

Part = tuple[dict[str, Array], list[tuple[str, str]]]
"""One dataset's pictures of a step by name, stored values [n, C, H, W], and the (path, reason) of those that are broken."""


class Loader:
    """Batches of the training sets, one per dataset and step.

    Sample k of a dataset is a function of (seed, dataset, k): batches can be asked for from any step on, and neither
    workers nor ranks change them.

    Args:
        sets: the pictures of each dataset, none of them empty.
        picture: what the pictures become.
        data: uses `balance`, `flip`, `zoom`, `workers`.
        batch_size: N, pictures per step and dataset over all ranks.
        seed: of all orders.
        streams: what a sample needs beside its own picture; where one goes by domains (the dataset's first set of
            alternatives), pictures without a domain are left out.
        batches: (step, N) in order, of the steps before that one which no earlier pair speaks of; further ones have batch_size.
        rows: of a batch of N those that this process loads, of several that train one model: start, stop; none: all.
        device: where pictures are needed; packed sets without broken pictures that fit there are kept there.
        on_broken: told once of every picture that cannot be decoded, with the reason.
    """

    def __init__(
        self,
        sets: list[PictureSet],
        picture: PictureFormat,
        data: DataConfig,
        *,
        batch_size: int,
        seed: int,
        streams: Sequence[Stream] = (),
        batches: Sequence[tuple[int, int]] = (),
        rows: Callable[[int], tuple[int, int]] | None = None,
        device: torch.device | None = None,
        on_broken: Callable[[Path, str], None],
    ) -> None:
        assert all(len(s) for s in sets), "every dataset needs training pictures"
        kinds = {stream.of for stream in streams}
        if kinds & {"domain", "other_domain", "partner"}:
            sets = [s.of_one_domain(streams[0].label) for s in sets]
        if "same_identity" in kinds and (bare := [s.name for s in sets if not s.identity]):
            raise DataError(f"{bare[0]} does not say which pictures show the same thing: add a column identity to its table")
        for held in sets if "partner" in kinds else ():
            held.check_pairs()
        if picture.depth == 32:  # Features are not pictures of anything: a mirrored or enlarged one is another.
            data = replace(data, flip=False, zoom=1.0)
        self.sets, self.picture, self.data, self.seed = sets, picture, data, seed
        self.batches, self.own_rows = [*batches, (sys.maxsize, batch_size)], rows
        self.suffixes = ["", *(f"_{stream.name}" for stream in streams)]
        # Whose draws crop and mirror the pictures of each suffix: 0 for the sample's own, then the streams.
        self.drawn_for = [0, *(0 if stream.aligned else number for number, stream in enumerate(streams, 1))]
        weights = [balanced_weights(s.labels, s.known, s.alternatives, s.space.numbers) if data.balance else None for s in sets]
        # The rows that samples are of: all, or the sources where these are of another kind than their partners.
        self.own = [np.flatnonzero(s.is_source) if picture.source else None for s in sets]
        self.samplers = [
            Sampler(len(s if own is None else own), seed, s.dataset, w if w is None or own is None else w[own])
            for s, own, w in zip(sets, self.own, weights, strict=True)
        ]
        domains = [s.domain_of_each(streams[0].label) for s in sets] if streams else []
        self.partners = [StreamSampler(streams, d, s.identity, seed, s.dataset) for d, s in zip(domains, sets, strict=False)]
        self.formats = [picture.taken, *[picture] * len(streams)]
        self.steps_per_epoch = -(-max(sampler.count for sampler in self.samplers) // batch_size)
        """Steps in which the largest dataset passes once."""
        self._pinned = torch.cuda.is_available()  # Memory from which a copy to the device does not block.
        packed = all(s.pack is not None for s in sets)  # As fast to read as what is kept; others are decoded beside a GPU.
        decoders = min(8, os.cpu_count() or 1) if self._pinned and not packed else 0
        self._workers = decoders if data.workers is None else data.workers
        sizes = [len(s) * math.prod(s.size) * max(f.channels * f.depth // 8 for f in self.formats) for s in sets if s.size]
        kept = not self._workers and len(sizes) == len(sets) and sum(sizes) <= CACHE_BYTES and not packed
        self.kept: list[dict[int, Array]] | None = [{} for _ in sets] if kept else None
        self._resident: list[Tensor] = _keep_on(device, sets) if device is not None and not picture.source else []
        self._on_broken, self._reported = on_broken, set[str]()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what worker processes have no part in."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_resident", "_on_broken")}

    def iterate(self, first_step: int) -> Generator[list[tuple[Batch, dict[str, Tensor]]], None, None]:
        """Yield, for each step from `first_step` on without end, one (whole, pictures) per dataset.

        `whole` holds the batch over all ranks: `labels` and `known` float32 [N, L], `dataset` and `position` int64 [N],
        `mirror` bool [N], with `data.zoom` below 1 also `window` float32 [N, 4]. `pictures` holds those of this rank's rows
        by name, `x` uint8 or uint16 [n, C, H, W], of `picture.taken`; those of streams are of `picture`, which is the same
        unless sources are of another kind. They are as in the files when the dataset is uniform, else fitted to the
        picture format; of features, float32, a window of the format's width at a random place. For a stream `ref` there are
        `x_ref`, `labels_ref`, `known_ref`, `mirror_ref` and `window_ref` as well. A picture that cannot be decoded is replaced
        by the next one of the set that has the same labels, or the most similar ones. Closing the iterator ends its processes.
        """
        if self._resident:
            for step in itertools.count(first_step):
                yield list(zip(self._describe(step), self._gather(step), strict=True))
        with closing(self._load(first_step)) as loaded:
            for step, parts in enumerate(loaded, start=first_step):
                for path, reason in (found for _, broken in parts for found in broken):
                    if path not in self._reported:
                        self._reported.add(path)
                        self._on_broken(Path(path), reason)
                pictures = [{name: self._tensor(x) for name, x in part.items()} for part, _ in parts]
                yield list(zip(self._describe(step), pictures, strict=True))

    def _gather(self, step: int) -> list[dict[str, Tensor]]:
        """Return the pictures of a step from those that the device keeps."""
        positions, parts = self._positions(step), []
        for index, stored in enumerate(self._resident):
            places = self._tensor(self._rows(index, positions)[0]).to(stored.device, non_blocking=True)
            held = stored.view(torch.int16) if stored.dtype == torch.uint16 else stored  # Of which no rows can be taken.
            parts.append(
                {f"x{suffix}": held[row].view(stored.dtype) for suffix, row in zip(self.suffixes, places, strict=True)}
            )
        return parts

    def _tensor(self, x: Array) -> Tensor:
        return torch.from_numpy(x).pin_memory() if self._pinned else torch.from_numpy(x)

    def _load(self, first_step: int) -> Generator[list[Part], None, None]:
        """Yield the pictures of each step, from this process or from workers that are some steps ahead."""
        pool: Executor
        if self._workers:
            # Plain pickle, since torch's own would pass tensors through shared memory, of which containers have little.
            state = pickle.dumps(self)
            pool = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"), _start_worker, (state,))
            load: Callable[[int], list[Part]] = _load_in_worker
        elif self._pinned:  # The device computes meanwhile, so that a thread has time for what no process is needed for.
            pool, load = ThreadPoolExecutor(1), self.load
        else:
            yield from map(self.load, itertools.count(first_step))
            return
        ahead: deque[Future[list[Part]]] = deque()
        try:
            for step in itertools.count(first_step):
                with _without_main():  # Its processes start as they are needed.
                    ahead.append(pool.submit(load, step))
                if len(ahead) > STEPS_AHEAD * max(1, self._workers):
                    yield ahead.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                f"the system ended one of the {self._workers} decoding processes, perhaps because memory ran out: give "
                "fewer --data.workers, then run the same command again to resume"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    def _describe(self, step: int) -> list[Batch]:
        """Return everything but the pictures, over all ranks: one batch per dataset."""
        positions, batches = self._positions(step, own=False), []
        for index, pictures in enumerate(self.sets):
            rows, flags = self._rows(index, positions)
            held = {"dataset": torch.full((len(positions),), pictures.dataset), "position": torch.from_numpy(positions)}
            for suffix, own, place in zip(self.suffixes, rows, self.drawn_for, strict=True):
                held |= {f"labels{suffix}": pictures.labels[own].float(), f"known{suffix}": pictures.known[own].float()}
                held[f"mirror{suffix}"] = torch.from_numpy(flags[place] & self.data.flip)
                if self.data.zoom < 1:
                    drawn = windows(positions, self.seed, pictures.dataset, place, self.data.zoom)
                    held[f"window{suffix}"] = torch.from_numpy(drawn)
            batches.append(Batch(**held))
        return batches

    def load(self, step: int) -> list[Part]:
        """Return the pictures of this rank: per dataset [n, C, H, W] by name, and the files that could not be decoded."""
        positions, parts = self._positions(step), []
        for index, pictures in enumerate(self.sets):
            loaded, broken = dict[str, Array](), list[tuple[str, str]]()
            own, _ = self._rows(index, positions)
            for suffix, kind, drawn_for, rows in zip(self.suffixes, self.formats, self.drawn_for, own, strict=True):
                shape = (kind.channels, *(pictures.size or (kind.height, kind.width)))
                x = np.empty((len(positions), *shape), STORED[kind.depth])
                shares: Sequence[float | None] = [None] * len(positions)
                if self.picture.depth == 32:
                    shares = crop_shares(positions, self.seed, pictures.dataset, drawn_for).tolist()
                for place, (row, share) in enumerate(zip(rows, shares, strict=True)):
                    x[place] = self._picture(index, int(row), kind, broken, share)
                loaded[f"x{suffix}"] = x
            parts.append((loaded, broken))
        return parts

    def _rows(self, index: int, positions: Array) -> tuple[Array, Array]:
        """Return the pictures and mirror flags of one dataset, [1 + streams, N] each: sources, then streams."""
        places, flags = self.samplers[index].rows(positions)
        own = self.own[index]
        rows, flags = (places if own is None else own[places])[None], flags[None]
        if self.partners:
            others, other_flags = self.partners[index].rows(positions, rows[0])
            rows, flags = np.concatenate([rows, others]), np.concatenate([flags, other_flags])
        return rows, flags

    def _positions(self, step: int, own: bool = True) -> Array:
        """Return the positions of a step's samples, of this rank or of all; they go on where those of the step before end."""
        first = begin = 0
        for until, count in self.batches:
            if step < until:
                break
            first, begin = first + (until - begin) * count, until
        start, stop = self.own_rows(count) if own and self.own_rows else (0, count)
        return np.arange(start, stop) + first + (step - begin) * count

    def _picture(self, index: int, row: int, kind: PictureFormat, broken: list[tuple[str, str]], share: float | None) -> Array:
        if self.kept and row in self.kept[index]:
            return self.kept[index][row]
        pictures = self.sets[index]
        array = read_or_replace(pictures, row, kind, fitted=pictures.size is None, broken=broken, share=share)
        if self.kept:
            self.kept[index][row] = np.ascontiguousarray(array)
        return array


def _keep_on(device: torch.device, sets: Sequence[PictureSet]) -> list[Tensor]:
    """Copy packed training sets to a device, [M, C, H, W] each, if none has broken pictures and all of them fit."""
    packs = [s.pack for s in sets if s.pack is not None and s.pack.depth < 32]  # Of features a step takes windows.
    if len(packs) < len(sets):
        return []
    try:
        places = [np.array([pack.place(path) for path in s.paths]) for pack, s in zip(packs, sets, strict=True)]
    except PictureError:
        return []
    needed = sum(len(p) * pack.pictures[0].nbytes for p, pack in zip(places, packs, strict=True))
    room = RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else CACHE_BYTES
    if needed > room:
        return []
    return [torch.from_numpy(pack.pictures[p]).to(device) for p, pack in zip(places, packs, strict=True)]


# -- worker processes --------------------------------------------------------------------------------------------------

_loader: Loader | None = None  # Of this worker process.


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the caller's script again, as they otherwise would: it may lack a guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start_worker(state: bytes) -> None:
    global _loader
    _loader = pickle.loads(state)
    torch.set_num_threads(1)
    # What stops all processes at once is the training process's to answer, which saves first: Ctrl-C, a scheduler, a closed
    # terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if SIGHUP is not None:
        signal.signal(SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _load_in_worker(step: int) -> list[Part]:
    assert _loader is not None
    return _loader.load(step)


def _end_with_parent() -> None:
    """End this process when the training process was killed: nobody would ever give it work again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
