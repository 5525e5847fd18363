"""The service: translates and generates for requests, within its limits.

A request takes a place per result from the moment it is accepted until its answer is made or its client is gone. Decoding
and encoding run in a few threads, the networks in the device's own.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from asterism import malloc
from asterism.config import ConfigError
from asterism.data.pictures import PictureError
from asterism.inference.codes import chosen_codes, written
from asterism.inference.decoding import moved
from asterism.inference.generator import decoded, told_of
from asterism.inference.images import open_image, to_array
from asterism.inference.styles import Target
from asterism.inference.voices import Voices
from asterism.labels import LabelError
from asterism.serving.hosted import Hosted, warm_up
from asterism.serving.limits import Limits, Refused
from asterism.serving.metrics import Metrics
from asterism.serving.recordings import read_upload as read_recording
from asterism.serving.requests import ConvertRequest, GenerateRequest, TranslateRequest
from asterism.serving.uploads import read_upload
from asterism.serving.worker import DeviceWorker
from asterism.storage.model_file import ModelError

T = TypeVar("T")
log = logging.getLogger(__name__)

RETURN_EVERY = 2.0
"""Seconds between returns of freed memory to the system, after work."""


class Service:
    """Hosted models behind one device.

    Use it from one event loop; `close` finishes what was accepted.

    Args:
        models: by name, from `load_models`.
    """

    def __init__(self, models: Mapping[str, Hosted], limits: Limits | None = None) -> None:
        self.models = dict(models)
        self.limits = limits or Limits()
        self.ready = False
        self.closing = False
        self.taken = 0
        self._made = False
        self._tidying: asyncio.Task[None] | None = None
        self.metrics = Metrics(places=self.limits.places, taken=lambda: self.taken)
        self._worker = DeviceWorker(self.limits.batch_size, self.metrics.batch)
        threads = max(2, min(8, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="asterism-pictures")

    def model(self, name: str) -> Hosted:
        """Return the model of that name.

        Raises:
            Refused: 404; names the models that there are.
        """
        if name not in self.models:
            raise Refused(404, f"there is no model {name[:80]!r}; there are {', '.join(self.models)}")
        return self.models[name]

    @contextmanager
    def place(self, count: int = 1) -> Iterator[None]:
        """Hold places for results.

        Raises:
            Refused: 503, they are all taken, or the service is closing.
        """
        if self.closing:
            raise Refused(503, "the service is shutting down; retry when it is back", retry_after=5)
        if self.taken + count > self.limits.places:
            raise Refused(503, f"all {self.limits.places} places are taken or would be; retry in a moment")
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count

    async def translate(self, hosted: Hosted, wanted: TranslateRequest, finish: Callable[[np.ndarray], T]) -> list[T]:
        """Translate an uploaded picture. The caller holds its first place; this takes one for every further result.

        What waits for the device is the upload as it came and the network's small input, never a decoded picture.

        Args:
            finish: turns a result [H, W, C], uint8 or uint16, into what the caller wants; called in a thread.

        Returns:
            What `finish` made of each target's result.

        Raises:
            Refused: what cannot be served, or did not become ready in time.
        """
        with self.place(len(wanted.to) - 1):
            try:
                async with asyncio.timeout(self.limits.seconds):
                    return await self._translate(hosted, wanted, finish)
            except TimeoutError as error:
                reason = f"the answer was not ready within {self.limits.seconds:g} s; ask for less, or again"
                raise Refused(503, reason) from error

    async def _translate(self, hosted: Hosted, wanted: TranslateRequest, finish: Callable[[np.ndarray], T]) -> list[T]:
        loop, picture = asyncio.get_running_loop(), hosted.translator.model.picture

        def prepare() -> tuple[Tensor, Callable[[Tensor], Tensor], list[Target], Mapping[int, float]]:
            targets, known = hosted.read(wanted, self.limits)
            x, back = self._fitted(hosted, wanted)
            keeps = hosted.translator.recipe.abilities.keeps
            if wanted.fit == "crop" or keeps:  # The way back holds the whole picture: it is opened again when it is needed.
                return x, lambda y: self._fitted(hosted, wanted)[1](y), targets, known
            return x, back, targets, known

        def conclude(y: Tensor) -> T:
            return finish(to_array(back(y[None])[0], picture))

        x, back, targets, known = await loop.run_in_executor(self._pool, prepare)
        try:
            results = await asyncio.wrap_future(self._worker.submit(hosted.translator, x, targets, known))
        except LabelError as error:
            raise Refused(422, str(error)) from error
        except Exception as error:
            raise Refused(503, "the translation failed on the server, see its log; retry, or ask for less") from error
        finished = await asyncio.gather(*(loop.run_in_executor(self._pool, conclude, y) for y in results))
        self.metrics.translated(hosted.name, len(finished))
        self._made = True
        return list(finished)

    async def generate(self, hosted: Hosted, wanted: GenerateRequest, finish: Callable[[np.ndarray], T]) -> list[T]:
        """Make pictures of latents. The caller holds the first picture's place; this takes one for every further one.

        Args:
            finish: as for `translate`.

        Returns:
            What `finish` made of each seed's picture.

        Raises:
            Refused: what cannot be served, or did not become ready in time.
        """
        translator = hosted.translator

        def work() -> list[Tensor]:
            told, codes = told_of(translator, wanted.to), chosen_codes(translator, wanted.codes)
            given = [code if isinstance(code, str) else torch.tensor(code) for code in wanted.code]
            latents = [translator.latents(code=code) for code in given] or [translator.latents(seeds=wanted.seeds)]
            z = torch.cat(latents)
            z = written(moved(translator, z, wanted.along, wanted.truncation), codes)
            return list(decoded(translator, z, told, self.limits.batch_size))

        with self.place(len(wanted.code or wanted.seeds) - 1):
            try:
                async with asyncio.timeout(self.limits.seconds):
                    made = await asyncio.wrap_future(self._worker.call(work))
                    arrays = [to_array(y, translator.model.picture) for y in made]
                    loop = asyncio.get_running_loop()
                    finished = await asyncio.gather(*(loop.run_in_executor(self._pool, finish, array) for array in arrays))
            except TimeoutError as error:
                reason = f"the pictures were not ready within {self.limits.seconds:g} s; ask for fewer, or again"
                raise Refused(503, reason) from error
            except (LabelError, ConfigError, ModelError) as error:
                raise Refused(422, pathless(hosted, error)) from error
        self._made = True
        return list(finished)

    async def convert(self, hosted: Hosted, wanted: ConvertRequest, finish: Callable[[np.ndarray, int], T]) -> list[T]:
        """Translate an uploaded recording. The caller holds its first place; this takes one for every further result.

        What waits for the device is the upload as it came, or its log-mel; the network has the device for one target at a time,
        and samples are made in the threads.

        Args:
            finish: turns samples [T] and their rate into what the caller wants; called in a thread.

        Returns:
            What `finish` made of each target's result.

        Raises:
            Refused: what cannot be served, or did not become ready in time.
        """
        if hosted.voices is None:
            raise Refused(422, f"{hosted.name} takes pictures, not recordings: send them to its route translate")
        if len(wanted.to) > self.limits.results:
            raise Refused(422, f"to: {len(wanted.to)} targets exceed the maximum of one request, {self.limits.results}")
        with self.place(len(wanted.to) - 1):
            try:
                async with asyncio.timeout(self.limits.seconds):
                    return await self._convert(hosted, hosted.voices, wanted, finish)
            except TimeoutError as error:
                reason = f"the answer was not ready within {self.limits.seconds:g} s; send less, or ask again"
                raise Refused(503, reason) from error
            except LabelError as error:
                raise Refused(422, str(error)) from error

    async def _convert(
        self, hosted: Hosted, voices: Voices, wanted: ConvertRequest, finish: Callable[[np.ndarray, int], T]
    ) -> list[T]:
        loop, makings = asyncio.get_running_loop(), list[asyncio.Future[T]]()

        def prepare() -> tuple[np.ndarray, int, int]:
            for to in wanted.to:
                voices.translator.parse(to)
            recording = read_recording(wanted.recording, self.limits)
            return voices.heard(recording), recording.rate, len(recording.samples)

        def conclude(made: np.ndarray) -> T:
            return finish(voices.spoken(made, rate, length), rate)

        frames, rate, length = await loop.run_in_executor(self._pool, prepare)
        try:
            for to in wanted.to:
                made = await asyncio.wrap_future(self._worker.call(partial(voices.frames, frames, to, wanted.labels)))
                makings.append(loop.run_in_executor(self._pool, conclude, made))
            finished = await asyncio.gather(*makings)
        except LabelError:
            raise
        except Exception as error:
            log.exception("a recording could not be translated")
            raise Refused(503, "the translation failed on the server, see its log; retry, or ask for less") from error
        finally:
            for making in makings:
                making.cancel()
        self.metrics.translated(hosted.name, len(finished))
        self._made = True
        return list(finished)

    async def search(self, hosted: Hosted, work: Callable[[Callable[[], None]], T]) -> T:
        """Search for codes, on the device, which goes on to serve other requests between the steps.

        A search ends when its time is over or its client is gone. The caller holds its places.

        Args:
            work: given a function that it calls before each step, in the device's thread.

        Raises:
            Refused: what cannot be served, or did not become ready in time.
        """
        over = threading.Event()

        def searching(others: Callable[[], None]) -> T:
            def pause() -> None:
                if over.is_set():
                    raise Refused(503, "the search was ended")
                others()

            return work(pause)

        try:
            async with asyncio.timeout(self.limits.seconds):
                found = await asyncio.wrap_future(self._worker.search(searching))
        except TimeoutError as error:
            reason = f"the search was not over within {self.limits.seconds:g} s; ask for fewer steps, or again"
            raise Refused(503, reason) from error
        except (LabelError, ConfigError, ModelError, PictureError) as error:
            raise Refused(422, pathless(hosted, error)) from error
        finally:
            over.set()
        self._made = True
        return found

    def in_thread(self, work: Callable[[], T]) -> Awaitable[T]:
        """Decode or encode pictures, in one of the threads for that."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _fitted(self, hosted: Hosted, wanted: TranslateRequest) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Decode the picture of a request and bring it to the model's size, as `fit_in` does."""
        picture = hosted.translator.model.picture
        whole = wanted.fit == "letterbox"
        array = read_upload(wanted.image, picture.taken, self.limits, letterbox=whole, instances=wanted.instances)
        return hosted.translator.fitted(open_image(array, picture), wanted.fit, torch.device("cpu"))

    async def warm_up(self) -> None:
        """Make every model run once; then the service is ready."""
        for hosted in self.models.values():
            await asyncio.wrap_future(self._worker.call(partial(warm_up, hosted, self.limits.batch_size)))
        self._tidying = asyncio.create_task(self._tidy())
        self.ready = True

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(RETURN_EVERY)
            if self._made:
                self._made = False
                await asyncio.get_running_loop().run_in_executor(self._pool, _let_go)

    async def drained(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Take nothing more, and wait until everything that was accepted is answered, or until somebody cannot wait."""
        self.closing, self.ready = True, False
        while self.taken and not hurry():
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Finish what was accepted and stop the threads."""
        self.closing, self.ready = True, False
        if self._tidying is not None:
            self._tidying.cancel()
        self._worker.close()
        self._pool.shutdown(wait=True)


def pathless(hosted: Hosted, error: Exception) -> str:
    """Return the words of an error without the folder of the model's files."""
    file = hosted.translator.path
    return str(error) if file is None else str(error).replace(f"{file.parent}{os.sep}", "")


def _let_go() -> None:
    """Let go of what only refers to itself, such as pictures of finished requests, and return unused pages to the system."""
    gc.collect()
    malloc.give_back()
