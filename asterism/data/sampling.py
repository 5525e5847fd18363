"""Choose the picture of each sample as a pure function of the seed, the dataset and the sample's position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from asterism.data.arrays import Array
from asterism.tables.compact import Alike

STREAM, WINDOW = 1, 2  # Keep the draws of one position apart.

BALANCE_ROUNDS = 100
BALANCE_TOLERANCE = 1e-3


class Sampler:
    """Assign pictures, and whether to mirror them, to the positions 0, 1, 2, ... of one dataset.

    Args:
        count: M, the number of pictures; every M positions are an epoch with an order of its own.
        seed, dataset: what the orders are drawn from.
        weights: float64 [M], how often each picture comes relative to the others; none: once per epoch.
    """

    def __init__(self, count: int, seed: int, dataset: int, weights: Array | None = None) -> None:
        self.count, self.seed, self.dataset, self.weights = count, seed, dataset, weights
        self._orders: dict[int, tuple[Array, Array]] = {}

    def rows(self, positions: Array) -> tuple[Array, Array]:
        """Return the picture, int64 [N] in [0, M), and the mirror flag, bool [N], at each position, int64 [N]."""
        epochs, places = np.divmod(positions, self.count)
        rows, flags = np.empty(len(positions), np.int64), np.empty(len(positions), bool)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order, mirrored = self._epoch(int(epoch))
            rows[here], flags[here] = order[places[here]], mirrored[places[here]]
        return rows, flags

    def _epoch(self, epoch: int) -> tuple[Array, Array]:
        if epoch not in self._orders:  # Keep the epoch before, since a batch may touch both.
            kept = {e: order for e, order in self._orders.items() if e == epoch - 1}
            order, mirrored = self._draw_epoch(epoch)
            held = order.astype(np.min_scalar_type(self.count))  # Half of the memory or less.
            self._orders = kept | {epoch: (held, mirrored)}
        return self._orders[epoch]

    def _draw_epoch(self, epoch: int) -> tuple[Array, Array]:
        rng = np.random.default_rng([self.seed, self.dataset, epoch])
        order = rng.permutation(self.count)
        if self.weights is not None:
            # Systematic draws: a picture of weight w comes floor(w M) or ceil(w M) times.
            edges = np.cumsum(self.weights[order])
            ticks = (np.arange(self.count) + rng.random()) / self.count * edges[-1]
            order = rng.permutation(order[np.minimum(np.searchsorted(edges, ticks, side="right"), self.count - 1)])
        return order, rng.random(self.count) < 0.5


@dataclass(frozen=True)
class Stream:
    """What a sample needs beside its own picture: another picture of the same dataset, drawn anew in every epoch.

    Args:
        name: the batch holds `x_<name>`, `labels_<name>` and `known_<name>`.
        of: which pictures it is drawn from: those of a `domain` that is itself drawn, each as often as any other; of an
            `other_domain` than the sample's own; of the `same_identity` as the sample, without the sample where there are
            more; its `partner`s, of that identity in another domain; `labelled` ones; `any`; or those that an earlier stream so
            named drew from.
        aligned: cropped and mirrored as the sample is, not by draws of its own.
        label: whose values are the domains meant; none: those of the dataset, its first set of alternatives.
    """

    name: str
    of: str
    aligned: bool = False
    label: str = ""


class StreamSampler:
    """Assign a picture of every stream to the positions of one dataset.

    Args:
        streams: in order; those that name an earlier stream draw from its pictures, in the same draw.
        domains: int64 [M], the domain of each picture; -1 where no label is known.
        identities: what shows the same thing, of each picture; for streams of the same identity, and of partners.
        seed, dataset: what is drawn from.
    """

    def __init__(
        self, streams: Sequence[Stream], domains: Array, identities: Sequence[str] | None, seed: int, dataset: int
    ) -> None:
        names = [stream.name for stream in streams]
        self.roots = [place for place, stream in enumerate(streams) if stream.of not in names[:place]]
        self.groups = [[i for i, s in enumerate(streams) if i == r or (s.of == names[r] and i > r)] for r in self.roots]
        self.streams, self.domains, self.seed, self.dataset = streams, domains, seed, dataset
        self.members = [np.flatnonzero(domains == d) for d in np.unique(domains)]
        least = {"labelled": 0, "any": -1}
        self.chosen = {s.of: np.flatnonzero(domains >= least[s.of]) for s in streams if s.of in least}
        self.same = Alike(identities)

    def rows(self, positions: Array, own: Array) -> tuple[Array, Array]:
        """Return the pictures, int64 [S, N] in [0, M), and the mirror flags, bool [S, N], at each position, int64 [N].

        Args:
            own: int64 [N], the samples' own pictures.
        """
        rows = np.empty((len(self.streams), len(positions)), np.int64)
        flags = np.empty((len(self.streams), len(positions)), bool)
        for number, (root, group) in enumerate(zip(self.roots, self.groups, strict=True)):
            apart = [number] if number else []
            for place, position in enumerate(positions):
                rng = np.random.default_rng([self.seed, self.dataset, int(position), STREAM, *apart])
                members = self._members(self.streams[root].of, int(own[place]), rng)
                rows[group, place] = members[rng.integers(len(members), size=len(group))]
                flags[group, place] = rng.random(len(group)) < 0.5
        return rows, flags

    def partners_of(self, own: int) -> Array:
        """Return the pictures of the same identity as a picture, in other domains."""
        same = self.same.rows(own)
        return same[self.domains[same] != self.domains[own]]

    def _members(self, of: str, own: int, rng: np.random.Generator) -> Array:
        """Return the pictures that a sample's stream is drawn from."""
        if of in ("domain", "other_domain"):
            choice = [one for one in self.members if of == "domain" or self.domains[one[0]] != self.domains[own]]
            return choice[rng.integers(len(choice))]
        if of == "same_identity":
            same = self.same.rows(own)
            return same[same != own] if len(same) > 1 else same
        if of == "partner":
            return self.partners_of(own)
        return self.chosen[of]


def windows(positions: Array, seed: int, dataset: int, stream: int, smallest: float) -> Array:
    """Return the random crop at each position: float32 [N, 4], centre (y, x), height and width as shares of the picture.

    In half of the pictures: an area of `smallest` to 1 of the whole, of a shape stretched by up to 10 % (StarGAN v2's
    published augmentation, there with 0.8); the whole picture in the others.
    """
    result = np.tile(np.array([0.5, 0.5, 1, 1], np.float32), (len(positions), 1))
    for place, position in enumerate(positions):
        rng = np.random.default_rng([seed, dataset, int(position), WINDOW, stream])
        if rng.random() < 0.5:
            area, ratio = rng.uniform(smallest, 1), np.exp(rng.uniform(np.log(0.9), np.log(1.1)))
            height, width = min(1.0, np.sqrt(area / ratio)), min(1.0, np.sqrt(area * ratio))
            y, x = rng.uniform(height / 2, 1 - height / 2), rng.uniform(width / 2, 1 - width / 2)
            result[place] = y, x, height, width
    return result


def crop_shares(positions: Array, seed: int, dataset: int, stream: int) -> Array:
    """Return where along its columns the features at each position are cropped: float64 [N], shares in [0, 1)."""
    return np.array([np.random.default_rng([seed, dataset, int(p), WINDOW, stream]).random() for p in positions])


def balanced_weights(
    labels: Tensor, known: Tensor, alternatives: tuple[tuple[int, ...], ...], numbers: tuple[int, ...] = ()
) -> Array:
    """Weigh pictures so that every label comes equally often, however few pictures have it.

    Each of a set of alternatives gets the same share, and both values of every other label one half, as far as the
    combinations that exist allow: iterative proportional fitting (Deming and Stephan 1940). Pictures of which no label is
    known keep their share.

    Args:
        labels, known: float32 [M, L].
        alternatives: sets of label indices of which exactly one holds.
        numbers: indices of labels that are numbers, which have no part in it.

    Returns:
        float64 [M], positive, with mean 1.
    """
    values, seen = labels.numpy().astype(bool), known.numpy().astype(bool)
    joined = {*numbers, *(index for choice in alternatives for index in choice)}
    parts = [[values[:, i] & seen[:, i] for i in choice] for choice in alternatives]
    parts += [[values[:, i] & seen[:, i], ~values[:, i] & seen[:, i]] for i in range(values.shape[1]) if i not in joined]
    parts = [[part for part in division if part.any()] for division in parts]
    weights = np.ones(len(values))
    for _ in range(BALANCE_ROUNDS):
        change = 0.0
        for division in parts:
            masses = [weights[part].sum() for part in division]
            for part, mass in zip(division, masses, strict=True):
                factor = sum(masses) / len(division) / mass
                weights[part] *= factor
                change = max(change, abs(factor - 1.0))
        if change < BALANCE_TOLERANCE:
            break
    return weights / weights.mean()
