"""Features of real training pictures, computed once and cached under the hash of their content."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from asterism.cache import writable_cache
from asterism.evaluation.cache import cache_folder, digest_of, read_tensor, write_tensor
from asterism.evaluation.extractors import Extractor
from asterism.evaluation.pictures import Pictures
from asterism.terminal import counting

SAVE_SECONDS = 60


class RealFeatures:
    """Features of the real pictures of one set, float32 [M, D] in memory.

    Args:
        pictures: the set.
        extractor: makes the features.
        batch: pictures at once.
        say: told when a damaged file of the cache is computed again.
    """

    def __init__(self, pictures: Pictures, extractor: Extractor, batch: int, say: Callable[[str], None]) -> None:
        self.set = pictures.set
        key = digest_of(extractor.name, extractor.digest, str(extractor.machine.dtype), pictures.digest)
        path = cache_folder() / "features" / f"{key}.safetensors"
        done = torch.empty(0, extractor.dims)
        try:
            found = read_tensor(path)
            done = done if found is None else found
        except ValueError as error:
            say(f"the cached features {path} are damaged ({error}); recomputing them")
        if len(done) < len(pictures):
            writable_cache("features")
        saved = time.monotonic()
        with counting(f"features of real pictures of {pictures.set.name}") as progress:
            while len(done) < len(pictures):
                rows = range(len(done), min(len(done) + batch, len(pictures)))
                done = torch.cat([done, extractor(pictures.load(rows))])
                progress(len(done), len(pictures))
                if len(done) == len(pictures) or time.monotonic() - saved > SAVE_SECONDS:
                    write_tensor(path, done)
                    saved = time.monotonic()
        self.features = done

    def of(self, index: int | None, value: float) -> Tensor:
        """Return the features [n, D] of the pictures whose label `index` is known to be `value`; of all for none."""
        return self.features if index is None else self.features[self.set.holding(index, value)]
