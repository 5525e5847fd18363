"""Label spaces: the labels of any number of datasets as one code for the generator.

The only place that knows datasets apart. A label group is a set of labels of one dataset: `binary` (any may hold), `one_of`
(exactly one holds) or `number` (each has a value in a range). Attributes of a binary group may form exclusive sub-groups
(hair colours), which stay binary for the loss, as published, and are switched together in a target.

Shapes: N batch, L labels of all the groups, M datasets. L is 0 for datasets without labels.
    labels   float32 [N, L]: 1 holds, 0 does not, or a number in its range; 0 where unknown
    known    float32 [N, L] in {0, 1}; 0 for other datasets' labels and for empty cells
    dataset  int64 [N] in [0, M)
    logits   [N, L] raw scores of a class head; of a number the number itself, as a share of its range
    code c   float32 [N, L] or, with more than one dataset, [N, L + M]: labels, numbers as shares of their range, then the
             mask vector m (StarGAN, Eq. (7))
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from asterism.labels.group import LabelError, LabelGroup

TOLERANCE = 0.1
"""By how much of its range a number may differ from the wanted one and still agree with it."""

CONFLICTS = (("Bald", "Bangs"), ("Receding_Hairline", "Bangs"), ("Straight_Hair", "Wavy_Hair"))
"""Of CelebA's attributes, in STGAN's published test (arXiv:1904.09709)."""


class LabelSpace:
    """The ordered label groups of all datasets.

    Groups of one dataset must follow one another. A label's public name is its own, or `dataset:label` where two
    datasets share it.

    Attributes:
        groups: all of them, in order.
        spans: where each group stands among the L labels.
        names: the public names of the L labels.
        num_labels: L, which is also the number of class logits.
        datasets: their names.
        dataset_of: which dataset each label is of.
        num_datasets: M.
        code_size: length of the code: L, plus M when there is more than one dataset (one dataset needs no mask).
        numbers: the indices of the labels that are numbers.
        ranges: the lowest and highest value of each label: the ends of a number's range, else 0 and 1.
        tolerance: by how much two values of each label may differ and still agree: 0, or a tenth of a number's range.
        alternatives: sets of label indices of which exactly one holds: one_of groups and exclusive sub-groups, in order.
        conflicts: sets of label indices of which a target sets one at most, in order.
        domain_names: the domains of all datasets, in order: each dataset's first set of alternatives.
    """

    def __init__(self, groups: Iterable[LabelGroup]) -> None:
        self.groups = tuple(groups)
        if not self.groups:
            raise LabelError("a label space needs at least one label group")
        order = [group.dataset for group in self.groups]
        self.datasets = tuple(dict.fromkeys(order))
        if [d for i, d in enumerate(order) if i == 0 or order[i - 1] != d] != list(self.datasets):
            raise LabelError("the label groups of one dataset must follow one another")
        pairs = [(group.dataset, label) for group in self.groups for label in group.labels]
        counts = Counter(label for _, label in pairs)
        self.names = tuple(f"{d}:{label}" if counts[label] > 1 else label for d, label in pairs)
        if len(set(pairs)) < len(pairs):
            twice = next(p for p, n in Counter(pairs).items() if n > 1)
            raise LabelError(f"label {twice[1]!r} stands twice in dataset {twice[0]!r}")
        self._index = {f"{d}:{label}": i for i, (d, label) in enumerate(pairs)} | {n: i for i, n in enumerate(self.names)}
        self.dataset_of = tuple(self.datasets.index(d) for d, _ in pairs)
        self.num_labels, self.num_datasets = len(self.names), len(self.datasets)
        self.code_size = self.num_labels + (self.num_datasets if self.num_datasets > 1 else 0)
        ends = [*accumulate((len(group.labels) for group in self.groups), initial=0)]
        self.spans = tuple(map(slice, ends, ends[1:]))
        self._group_of = tuple(group for group in self.groups for _ in group.labels)
        self._numbers = [pair for pair in zip(self.groups, self.spans, strict=True) if pair[0].kind == "number"]
        self.numbers = tuple(i for i, group in enumerate(self._group_of) if group.kind == "number")
        self.ranges = tuple((group.low, group.high) for group in self._group_of)
        self.tolerance = tuple(TOLERANCE * (g.high - g.low) if g.kind == "number" else 0.0 for g in self._group_of)
        self.alternatives = self._places([(g.labels,) if g.kind == "one_of" else g.exclusive for g in self.groups])
        self.conflicts = self._places([group.conflicts for group in self.groups])
        self.domain_names = tuple(self.names[i] for dataset in range(self.num_datasets) for i in self.domains(dataset))

    # -- layout ----------------------------------------------------------------------------------------------------

    def _places(self, sets: Sequence[Iterable[Sequence[str]]]) -> tuple[tuple[int, ...], ...]:
        """Return the label indices of each group's sets of labels."""
        grouped = zip(self.groups, self.spans, sets, strict=True)
        return tuple(tuple(s.start + g.labels.index(name) for name in names) for g, s, held in grouped for names in held)

    def dataset_span(self, dataset: int) -> slice:
        """Where the labels of one dataset stand among the L labels."""
        mine = [s for g, s in zip(self.groups, self.spans, strict=True) if g.dataset == self.datasets[dataset]]
        return slice(mine[0].start, mine[-1].stop)

    def domains(self, dataset: int) -> tuple[int, ...]:
        """The labels of a dataset that recipes with styles take for its domains: its first set of alternatives, if any."""
        span = self.dataset_span(dataset)
        return next((choice for choice in self.alternatives if span.start <= choice[0] < span.stop), ())

    def domain(self, labels: Tensor) -> Tensor:
        """Return the domain of each sample, int64 [N], as an index into `domain_names`, from labels [N, L]."""
        order = torch.tensor([self._index[name] for name in self.domain_names], device=labels.device)
        return labels[:, order].argmax(1)

    def siblings(self, index: int) -> tuple[int, ...]:
        """The set of alternatives that a label is one of, itself among them; empty for labels that exclude no other."""
        return next((s for s in self.alternatives if index in s), ())

    def cleared(self, index: int) -> tuple[int, ...]:
        """The labels that a target which sets this one ends: its alternatives and what it conflicts with; perhaps itself."""
        return (*self.siblings(index), *(i for names in self.conflicts if index in names for i in names))

    # -- codes -----------------------------------------------------------------------------------------------------

    def known(self, dataset: Tensor) -> Tensor:
        """Return `known` [N, L] for pictures whose dataset is fully labelled, from `dataset` [N]."""
        owner = torch.tensor(self.dataset_of, device=dataset.device)
        return (owner[None, :] == dataset[:, None]).float()

    def encode(self, labels: Tensor, known: Tensor, dataset: Tensor) -> Tensor:
        """Return the code c [N, code_size]: labels, zeros where unknown, then one mask bit per dataset.

        Numbers are shares of their range. The mask is left out when there is one dataset. A label unknown inside its own
        dataset is 0 and the dataset's bit stays 1. StarGAN (arXiv:1711.09020), Eq. (7).
        """
        c = self.shares(labels) * known
        if self.num_datasets == 1:
            return c
        m = dataset[:, None] == torch.arange(self.num_datasets, device=dataset.device)
        return torch.cat([c, m.to(c.dtype)], dim=1)

    def shares(self, labels: Tensor) -> Tensor:
        """Return labels [..., L] with each number as its share of its range, 0 to 1; the other labels as they are."""
        if not self._numbers:
            return labels
        parts = [labels[..., span] for span in self.spans]
        ranges = [(g.low, g.high - g.low) for g in self.groups]
        return torch.cat([(part - low) / width for part, (low, width) in zip(parts, ranges, strict=True)], -1)

    def _set_numbers(self, labels: Tensor, shares: Tensor) -> None:
        """Set the numbers of labels [N, L], in place, from their shares [N, L], clamped to their range."""
        for group, span in self._numbers:
            share = shares[:, span].to(labels)
            labels[:, span] = (group.low + share * (group.high - group.low)).clamp(group.low, group.high)

    def named(self, labels: Tensor, dataset: int | None = None) -> dict[str, float]:
        """Return labels [L] by name, of one dataset or of all: True, False or a number, as targets take them."""
        span = range(self.num_labels)[self.dataset_span(dataset) if dataset is not None else slice(None)]
        return {self.names[i]: float(labels[i]) if i in self.numbers else bool(labels[i] > 0.5) for i in span}

    def decide(self, logits: Tensor) -> Tensor:
        """Turn class logits [N, L] into labels [N, L].

        The likeliest of each set of alternatives holds, and every other label whose logit is positive; numbers are clamped
        to their range.
        """
        labels = (logits > 0).float()
        for choice in self.alternatives:
            best = logits[:, list(choice)].argmax(1)
            labels[:, list(choice)] = torch.nn.functional.one_hot(best, len(choice)).to(labels)
        self._set_numbers(labels, logits)
        return labels

    def agree(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Say which labels [N, L] are as wanted, [N, L] or [L]: bool [N, L]. Numbers are, within `tolerance`."""
        return (predicted - wanted).abs() <= predicted.new_tensor(self.tolerance)

    def holds(self, labels: Tensor, known: Tensor, index: int, value: float = 1.0) -> Tensor:
        """Say which samples, of labels and known [N, L], are known to have this value of a label: bool [N]."""
        return ((labels[:, index] - value).abs() <= self.tolerance[index]) & (known[:, index] > 0)

    def upper(self, labels: Tensor) -> Tensor:
        """Say which labels [N, L] hold or, of numbers, lie in the upper half of their range: bool [N, L]."""
        return self.shares(labels) >= 0.5

    # -- targets ---------------------------------------------------------------------------------------------------

    def index(self, name: str) -> int:
        """Return the position of a label named `label` or `dataset:label`.

        Raises:
            LabelError: no such label; lists the valid names.
        """
        if name not in self._index:
            shared = [full for full in self._index if full.endswith(f":{name}")]
            hint = f"it stands in several datasets: say {' or '.join(shared)}; " if shared else ""
            near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
            hint = hint or (f"did you mean {' or '.join(near)}? " if near else "")
            valid = f"the labels are {', '.join(self.names)}" if self.names else "there are no labels"
            raise LabelError(f"no label {name!r}: {hint}{valid}")
        return self._index[name]

    def say(self, index: int, value: float) -> str:
        """Return a label's value in words that `parse` takes: `Male`, `Male=no`, `AU12=0.9`."""
        return self._group_of[index].say(self.names[index], value)

    def values(self, words: str | Mapping[str, Any]) -> dict[int, float]:
        """Read label values, `Male,Young=no,AU12=0.8` or {"Male": True, "AU12": 0.8}: label index -> value, as named.

        Words that are a label as a whole are that label, such as a folder called `Monet, Claude`. A number that is named
        without a value is its highest.

        Raises:
            LabelError: unknown label, a value that is neither yes nor no, or a number outside its range.
        """
        return {(i := self.index(name)): self._group_of[i].read(name, value) for name, value in self.words_of(words).items()}

    def words_of(self, words: str | Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is said of each label, as `values` understands it, unread."""
        if isinstance(words, Mapping):
            return words
        parts = [words] if words in self._index else [part for part in words.split(",") if part.strip()]
        pairs = ((part, "", "") if part in self._index else part.partition("=") for part in parts)
        return {name.strip(): value.strip() or "yes" for name, _, value in pairs}

    def single_edits(self, labels: Tensor, dataset: int) -> list[tuple[str, Tensor]]:
        """Return the published list of test targets: each label of `dataset` in turn, as (name, labels [N, L]).

        A label with alternatives is set; any other binary label is flipped, and a number is set to the end of its range that
        is further away. What a label that is set ends (`cleared`) is cleared.
        """
        span, upper = self.dataset_span(dataset), self.upper(labels)
        targets = []
        for index in range(span.start, span.stop):
            result = labels.clone()
            low, high = self.ranges[index]
            begins = ~upper[:, index] | bool(self.siblings(index))
            result[:, list(self.cleared(index))] *= ~begins[:, None]
            result[:, index] = torch.where(begins, high, low).to(result)
            targets.append((self.names[index], result))
        return targets

    def sample_uniform(self, dataset: Tensor, rng: torch.Generator) -> Tensor:
        """Draw target labels [N, L] uniformly over the domains of each sample's `dataset` [N], on the CPU.

        Of each set of alternatives one is drawn; every other binary label holds with probability 1/2; a number is uniform
        over its range.
        """
        count = len(dataset)
        drawn = torch.rand(count, self.num_labels, generator=rng)
        labels = (drawn < 0.5).float()
        self._set_numbers(labels, drawn)
        for choice in self.alternatives:
            picked = torch.randint(len(choice), (count,), generator=rng)
            labels[:, list(choice)] = torch.nn.functional.one_hot(picked, len(choice)).float()
        for names in self.conflicts:  # Of those that would hold, one does.
            labels[:, list(names)] *= drawn[:, list(names)] == drawn[:, list(names)].amin(1, keepdim=True)
        return labels * self.known(dataset.cpu())

    def to_json(self) -> list[dict[str, Any]]:
        """Return JSON values that `from_json` takes back."""
        return [group.to_json() for group in self.groups]

    @classmethod
    def from_json(cls, groups: Sequence[Mapping[str, Any]]) -> LabelSpace:
        """Rebuild a label space from `to_json`'s values."""
        return cls(map(LabelGroup.from_json, groups))

    @classmethod
    def from_text(cls, text: str, dataset: str = "data") -> LabelSpace:
        """Read a label space from words: `A,B,C` (binary, of `dataset`) or `celeba:binary:A,B;rafd:one_of:C,D`.

        Hair colours as CelebA names them (Black_, Blond_, Brown_, Gray_Hair) form an exclusive sub-group, and no hair goes
        with bangs: the rules that the published tests use.

        Raises:
            LabelError: a part that has neither form.
        """
        groups = []
        for part in text.split(";"):
            pieces = part.split(":")
            name, kind, listed = pieces if len(pieces) == 3 else (dataset, "binary", part)
            labels = tuple(label.strip() for label in listed.split(",") if label.strip())
            if len(pieces) not in (1, 3) or not labels:
                raise LabelError(f"cannot read {part!r}: expected A,B,C or dataset:binary:A,B or dataset:one_of:C,D")
            hair = tuple(label for label in labels if label in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"))
            exclusive = (hair,) if kind == "binary" and len(hair) > 1 else ()
            conflicts = tuple(names for names in CONFLICTS if kind == "binary" and set(names) <= set(labels))
            groups.append(LabelGroup(name.strip(), labels, kind.strip(), exclusive, conflicts=conflicts))  # type: ignore[arg-type]
        return cls(groups)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSpace) and self.groups == other.groups

    def __hash__(self) -> int:
        return hash(self.groups)

    def __repr__(self) -> str:
        return f"LabelSpace({', '.join(self.names)})"
