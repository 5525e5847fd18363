"""Label spaces: the labels of any number of datasets as one code for the generator.

The only place that knows datasets apart. A label group is a set of labels of one dataset, `binary` (any may hold) or
`one_of` (exactly one holds); attributes of a binary group may form exclusive sub-groups (hair colours), which stay
binary for the loss, as published, and are switched together in a target.

Shapes: N batch, L labels of all the groups, M datasets.
    labels   float32 [N, L] in {0, 1}; 0 where unknown
    known    float32 [N, L] in {0, 1}; 0 for other datasets' labels and for empty cells
    dataset  int64 [N] in [0, M)
    code c   float32 [N, L] or, with more than one dataset, [N, L + M]: labels, then the mask vector m (StarGAN, Eq. (7))
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from asterism.config import closest


class LabelError(ValueError):
    """A label or target that the label space does not hold; the message lists what it holds."""


@dataclass(frozen=True)
class LabelGroup:
    """Labels of one dataset that belong together.

    Args:
        dataset: name of the dataset.
        labels: names, unique within the dataset.
        kind: `binary`: any may hold; `one_of`: exactly one holds.
        exclusive: sub-groups of a binary group of which exactly one label holds.
    """

    dataset: str
    labels: tuple[str, ...]
    kind: Literal["binary", "one_of"]
    exclusive: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("binary", "one_of"):
            raise LabelError(f"the kind of a label group is 'binary' or 'one_of', not {self.kind!r}")
        if not self.labels and self.kind != "binary":
            raise LabelError(f"dataset {self.dataset!r} has a label group without labels")
        if self.kind == "one_of" and self.exclusive:
            raise LabelError("the labels of a one_of group exclude each other already; exclusive sets belong to binary groups")
        listed = [name for names in self.exclusive for name in names]
        for name in listed:
            if name not in self.labels:
                raise LabelError(f"exclusive label {name!r} is not a label of {self.dataset!r}: {closest(name, self.labels)}")
        for sequence, what in ((self.labels, "label"), (listed, "exclusive label")):
            repeated = [name for name, count in Counter(sequence).items() if count > 1]
            if repeated:
                raise LabelError(f"{what} {repeated[0]!r} stands twice in dataset {self.dataset!r}")


@dataclass(frozen=True)
class Edit:
    """A target from words: what one pass of the generator is asked for.

    Args:
        dataset: index of the dataset whose labels are set.
        values: label index -> wanted value.
        name: the words, fit for a file name.
    """

    dataset: int
    values: Mapping[int, bool]
    name: str


class LabelSpace:
    """The ordered label groups of all datasets.

    Groups of one dataset must follow one another. A label's public name is its own, or `dataset:label` where two
    datasets share it.
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
        self._dataset_of = tuple(self.datasets.index(d) for d, _ in pairs)

    # -- layout ----------------------------------------------------------------------------------------------------

    @property
    def num_labels(self) -> int:
        """L: the number of labels, which is also the number of class logits."""
        return len(self.names)

    @property
    def num_datasets(self) -> int:
        """M: the number of datasets."""
        return len(self.datasets)

    @property
    def code_size(self) -> int:
        """Length of the code: L, plus M when there is more than one dataset (one dataset needs no mask)."""
        return self.num_labels + (self.num_datasets if self.num_datasets > 1 else 0)

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Where each group stands among the L labels."""
        spans, start = [], 0
        for group in self.groups:
            spans.append(slice(start, start + len(group.labels)))
            start += len(group.labels)
        return tuple(spans)

    def dataset_span(self, dataset: int) -> slice:
        """Where the labels of one dataset stand among the L labels."""
        mine = [i for i, d in enumerate(self._dataset_of) if d == dataset]
        return slice(mine[0], mine[-1] + 1)

    @cached_property
    def alternatives(self) -> tuple[tuple[int, ...], ...]:
        """Sets of label indices of which exactly one holds: one_of groups and exclusive sub-groups, in order."""
        sets = []
        for group, span in zip(self.groups, self.spans, strict=True):
            choices = [group.labels] if group.kind == "one_of" else group.exclusive
            sets += [tuple(span.start + group.labels.index(name) for name in names) for names in choices]
        return tuple(sets)

    def domains(self, dataset: int) -> tuple[int, ...]:
        """The labels of a dataset that recipes with styles take for its domains: its first set of alternatives, if any."""
        span = self.dataset_span(dataset)
        return next((choice for choice in self.alternatives if span.start <= choice[0] < span.stop), ())

    @cached_property
    def domain_names(self) -> tuple[str, ...]:
        """The domains of all datasets, in order: each dataset's first set of alternatives."""
        return tuple(self.names[i] for dataset in range(self.num_datasets) for i in self.domains(dataset))

    def domain(self, labels: Tensor) -> Tensor:
        """Return the domain of each sample, int64 [N], as an index into `domain_names`, from labels [N, L]."""
        order = torch.tensor([self._index[name] for name in self.domain_names], device=labels.device)
        return labels[:, order].argmax(1)

    def siblings(self, index: int) -> tuple[int, ...]:
        """The set of alternatives that a label is one of, itself among them; empty for labels that exclude no other."""
        return next((s for s in self.alternatives if index in s), ())

    # -- codes -----------------------------------------------------------------------------------------------------

    def known(self, dataset: Tensor) -> Tensor:
        """Return `known` [N, L] for pictures whose dataset is fully labelled, from `dataset` [N]."""
        owner = torch.tensor(self._dataset_of, device=dataset.device)
        return (owner[None, :] == dataset[:, None]).float()

    def encode(self, labels: Tensor, known: Tensor, dataset: Tensor) -> Tensor:
        """Return the code c [N, code_size]: labels, zeros where unknown, then one mask bit per dataset.

        The mask is left out when there is one dataset. A label unknown inside its own dataset is 0 and the dataset's
        bit stays 1. StarGAN (arXiv:1711.09020), Eq. (7).
        """
        c = labels * known
        if self.num_datasets == 1:
            return c
        m = dataset[:, None] == torch.arange(self.num_datasets, device=dataset.device)
        return torch.cat([c, m.to(c.dtype)], dim=1)

    def decode(self, c: Tensor) -> list[dict[str, bool]]:
        """Return, per sample, the labels that a code [N, code_size] states: name -> holds, for its dataset only."""
        if self.num_datasets == 1:
            dataset = torch.zeros(len(c), dtype=torch.long)
        else:
            dataset = c[:, self.num_labels :].argmax(1).cpu()
        spans = [self.dataset_span(int(d)) for d in dataset]
        return [{self.names[i]: bool(row[i] > 0.5) for i in range(s.start, s.stop)} for row, s in zip(c, spans, strict=True)]

    def decide(self, logits: Tensor) -> Tensor:
        """Turn class logits [N, L] into labels [N, L]: the likeliest of each set of alternatives, the sign of every other."""
        labels = (logits > 0).float()
        for choice in self.alternatives:
            best = logits[:, list(choice)].argmax(1)
            labels[:, list(choice)] = torch.nn.functional.one_hot(best, len(choice)).to(labels)
        return labels

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
            raise LabelError(f"no label {name!r}: {hint}the labels are {', '.join(self.names)}")
        return self._index[name]

    def values(self, words: str | Mapping[str, Any]) -> dict[int, bool]:
        """Read label values, `Male,Young=no` or {"Male": True, "Young": False}: label index -> holds, in the order named.

        Words that are a label as a whole are that label, such as a folder called `Monet, Claude`.

        Raises:
            LabelError: unknown label, or a value that is neither yes nor no.
        """
        if not isinstance(words, Mapping):
            parts = [words] if words in self._index else [part for part in words.split(",") if part.strip()]
            words = dict((part, "yes") if part in self._index else _pair(part) for part in parts)
        return {self.index(name): _truth(name, value) for name, value in words.items()}

    def parse(self, target: str | Mapping[str, Any]) -> tuple[Edit, ...]:
        """Read a target: `Blond_Hair`, `Eyeglasses=no`, `Blond_Hair,Smiling=no`, or {"Blond_Hair": True}.

        Returns:
            One edit per dataset that the target names, in the order named: no code with two mask bits was ever
            trained, so a target over two datasets is two passes.

        Raises:
            LabelError: unknown label, a value that is neither yes nor no, a contradiction, or a choice that is only
                switched off.
        """
        wanted = self.values(target)
        if not wanted:
            raise LabelError(f"the target is empty; name one or more of: {', '.join(self.names)}")
        passes: dict[int, dict[int, bool]] = {}
        for index, value in wanted.items():
            passes.setdefault(self._dataset_of[index], {})[index] = value
        for values in passes.values():
            self._check(values)
        return tuple(Edit(d, values, _file_name(self.names, values)) for d, values in passes.items())

    def _check(self, values: Mapping[int, bool]) -> None:
        for choice in self.alternatives:
            on = [self.names[i] for i in choice if values.get(i)]
            off = [self.names[i] for i in choice if values.get(i) is False]
            if len(on) > 1:
                raise LabelError(f"{' and '.join(on)} exclude each other: name one of them")
            if off and not on:
                others = [self.names[i] for i in choice if self.names[i] not in off]
                raise LabelError(f"{off[0]} can only be replaced: name one of {', '.join(others)} instead")

    def complete(self, edit: Edit) -> bool:
        """Say whether the edit alone fixes every label of its dataset, so that the source's labels are not needed."""
        span = self.dataset_span(edit.dataset)
        fixed = {i for i in edit.values} | {j for i, on in edit.values.items() if on for j in self.siblings(i)}
        return all(i in fixed for i in range(span.start, span.stop))

    def apply(self, edit: Edit, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the target's (labels, known, dataset) for sources with `labels` [N, L].

        Labels that the edit does not name keep the source's value; setting one of several alternatives clears the others.
        """
        dataset = torch.full((len(labels),), edit.dataset, dtype=torch.long, device=labels.device)
        known = self.known(dataset)
        result = labels * known
        for index, on in edit.values.items():
            if on:
                result[:, list(self.siblings(index))] = 0.0
            result[:, index] = float(on)
        return result, known, dataset

    def single_edits(self, labels: Tensor, dataset: int) -> list[tuple[str, Tensor]]:
        """Return the published list of test targets: each label of `dataset` in turn, as (name, labels [N, L]).

        A label with alternatives is set and the others are cleared; any other binary label is flipped.
        """
        span = self.dataset_span(dataset)
        targets = []
        for index in range(span.start, span.stop):
            result = labels.clone()
            siblings = self.siblings(index)
            if siblings:
                result[:, list(siblings)] = 0.0
                result[:, index] = 1.0
            else:
                result[:, index] = 1.0 - result[:, index]
            targets.append((self.names[index], result))
        return targets

    def sample_uniform(self, dataset: Tensor, rng: torch.Generator) -> Tensor:
        """Draw target labels [N, L] uniformly over the domains of each sample's `dataset` [N], on the CPU.

        Of each set of alternatives one is drawn; every other binary label holds with probability 1/2.
        """
        count = len(dataset)
        labels = (torch.rand(count, self.num_labels, generator=rng) < 0.5).float()
        for choice in self.alternatives:
            picked = torch.randint(len(choice), (count,), generator=rng)
            labels[:, list(choice)] = torch.nn.functional.one_hot(picked, len(choice)).float()
        return labels * self.known(dataset.cpu())

    # -- files -----------------------------------------------------------------------------------------------------

    def to_json(self) -> list[dict[str, Any]]:
        """Return JSON values that `from_json` takes back."""
        return [
            {"dataset": g.dataset, "labels": list(g.labels), "kind": g.kind, "exclusive": [list(e) for e in g.exclusive]}
            for g in self.groups
        ]

    @classmethod
    def from_json(cls, groups: Sequence[Mapping[str, Any]]) -> LabelSpace:
        """Rebuild a label space from `to_json`'s values."""
        return cls(
            LabelGroup(g["dataset"], tuple(g["labels"]), g["kind"], tuple(tuple(e) for e in g["exclusive"])) for g in groups
        )

    @classmethod
    def from_text(cls, text: str, dataset: str = "data") -> LabelSpace:
        """Read a label space from words: `A,B,C` (binary) or `celeba:binary:A,B;rafd:one_of:C,D`.

        Hair colours as CelebA names them (Black_, Blond_, Brown_, Gray_Hair) form an exclusive sub-group, the rule that
        the published test uses.

        Raises:
            LabelError: a part that has neither form.
        """
        groups = []
        for part in text.split(";"):
            pieces = part.split(":")
            if len(pieces) not in (1, 3):
                raise LabelError(f"cannot read {part!r}: expected A,B,C or dataset:binary:A,B or dataset:one_of:C,D")
            name, kind, listed = pieces if len(pieces) == 3 else (dataset, "binary", part)
            labels = tuple(label.strip() for label in listed.split(",") if label.strip())
            hair = tuple(label for label in labels if label in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"))
            exclusive = (hair,) if kind == "binary" and len(hair) > 1 else ()
            groups.append(LabelGroup(name.strip(), labels, kind.strip(), exclusive))  # type: ignore[arg-type]
        return cls(groups)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSpace) and self.groups == other.groups

    def __hash__(self) -> int:
        return hash(self.groups)

    def __repr__(self) -> str:
        return f"LabelSpace({', '.join(self.names)})"


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip() or "yes"


def _truth(name: str, value: Any) -> bool:
    words = {
        "yes": True,
        "true": True,
        "1": True,
        "on": True,
        "no": False,
        "false": False,
        "0": False,
        "off": False,
        "-1": False,
    }
    found = words.get(str(value).lower())
    if found is None:
        raise LabelError(f"{name}={value}: expected yes or no")
    return found


def _file_name(names: Sequence[str], values: Mapping[int, bool]) -> str:
    words = (names[i] if on else f"no-{names[i]}" for i, on in values.items())
    return "+".join(words).replace(":", ".").replace("/", "-").replace("\\", "-").replace(" ", "_")
