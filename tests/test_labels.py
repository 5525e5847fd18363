"""Label spaces: codes, mask vectors, targets from words, sampling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asterism.labels import LabelError, LabelGroup, LabelSpace

HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair")
CELEBA = LabelGroup("celeba", (*HAIR, "Male", "Young"), "binary", (HAIR,))
RAFD = LabelGroup("rafd", ("angry", "happy", "sad"), "one_of")
SCANS = LabelGroup("scans", ("t1", "t2"), "one_of")
ONE = LabelSpace([CELEBA])
JOINT = LabelSpace([CELEBA, RAFD, SCANS])


@st.composite
def spaces(draw):
    """Label spaces of one to four datasets with one or two groups each."""
    groups = []
    for d in range(draw(st.integers(1, 4))):
        for g in range(draw(st.integers(1, 2))):
            labels = tuple(f"d{d}g{g}_{i}" for i in range(draw(st.integers(2, 5))))
            kind = draw(st.sampled_from(["binary", "one_of"]))
            exclusive = (labels[:2],) if kind == "binary" and draw(st.booleans()) else ()
            groups.append(LabelGroup(f"d{d}", labels, kind, exclusive))
    return LabelSpace(groups)


@given(spaces(), st.integers(0, 2**31))
def test_codes_hold_labels_then_one_mask_bit(space, seed):
    rng = torch.Generator().manual_seed(seed)
    dataset = torch.randint(space.num_datasets, (6,), generator=rng)
    labels, known = space.sample_uniform(dataset, rng), space.known(dataset)
    c = space.encode(labels, known, dataset)
    assert c.shape == (6, space.code_size)
    assert torch.equal(c[:, : space.num_labels], labels)
    if space.num_datasets == 1:
        assert c.shape[1] == space.num_labels  # No mask with one dataset: the published shapes.
    else:
        assert torch.equal(c[:, space.num_labels :].argmax(1), dataset)
        assert torch.equal(c[:, space.num_labels :].sum(1), torch.ones(6))
    for row, said, d in zip(c, space.decode(c), dataset, strict=True):
        span = space.dataset_span(int(d))
        assert [said[n] for n in space.names[span]] == [bool(v) for v in row[span]]
        assert len(said) == span.stop - span.start


@given(spaces(), st.integers(0, 2**31))
def test_sampled_targets_hold_exactly_one_of_each_set_of_alternatives(space, seed):
    rng = torch.Generator().manual_seed(seed)
    dataset = torch.randint(space.num_datasets, (20,), generator=rng)
    labels = space.sample_uniform(dataset, rng)
    known = space.known(dataset)
    assert (labels * (1 - known) == 0).all()
    for choice in space.alternatives:
        held = labels[:, list(choice)].sum(1)
        assert torch.equal(held, known[:, choice[0]])


@given(spaces())
def test_json_round_trip(space):
    assert LabelSpace.from_json(space.to_json()) == space


def test_uniform_targets_reach_every_domain_equally_often():
    labels = JOINT.sample_uniform(torch.ones(6000, dtype=torch.long), torch.Generator().manual_seed(0))
    assert (labels[:, 5:8].mean(0) - 1 / 3).abs().max() < 0.03


def test_unknown_labels_are_zero_and_the_bit_stays():
    labels = torch.ones(1, 10)
    known = JOINT.known(torch.tensor([0]))
    known[0, 3] = 0
    assert JOINT.encode(labels, known, torch.tensor([0])).tolist() == [[1, 1, 1, 0, 1] + [0] * 5 + [1, 0, 0]]


def test_published_test_targets_switch_hair_and_flip_the_rest():
    labels = torch.tensor([[1.0, 0, 0, 1, 0]])
    targets = dict(ONE.single_edits(labels, 0))
    assert list(targets) == [*HAIR, "Male", "Young"]
    assert targets["Blond_Hair"].tolist() == [[0, 1, 0, 1, 0]]
    assert targets["Black_Hair"].tolist() == [[1, 0, 0, 1, 0]]
    assert targets["Male"].tolist() == [[1, 0, 0, 0, 0]]
    assert targets["Young"].tolist() == [[1, 0, 0, 1, 1]]


def test_targets_from_words_keep_what_they_do_not_name():
    (edit,) = ONE.parse("Blond_Hair, Male=no")
    labels, known, dataset = ONE.apply(edit, torch.tensor([[1.0, 0, 0, 1, 1]]))
    assert labels.tolist() == [[0, 1, 0, 0, 1]]
    assert known.tolist() == [[1] * 5] and dataset.tolist() == [0]
    assert edit.name == "Blond_Hair+no-Male"
    assert ONE.parse({"Blond_Hair": True, "Male": False}) == ONE.parse("Blond_Hair,Male=no")


def test_labels_with_commas_and_equals_signs_are_targets_too():
    """Folders may be called so."""
    artists = LabelSpace([LabelGroup("art", ("Monet, Claude", "x=y", "Cezanne"), "one_of")])
    for index, name in enumerate(artists.names):
        assert artists.values(name) == {index: True}
        assert artists.values({name: False}) == {index: False}


def test_a_target_over_two_datasets_is_two_passes_in_order():
    happy, blond = JOINT.parse("happy,Blond_Hair")
    assert (happy.dataset, blond.dataset) == (1, 0)
    labels, known, dataset = JOINT.apply(happy, torch.ones(2, 10))
    assert JOINT.encode(labels, known, dataset)[0].tolist() == [0] * 5 + [0, 1, 0] + [0, 0] + [0, 1, 0]


def test_a_complete_target_does_not_need_the_sources_labels():
    assert JOINT.complete(JOINT.parse("happy")[0])
    assert not JOINT.complete(JOINT.parse("Blond_Hair")[0])
    assert JOINT.complete(JOINT.parse("Blond_Hair,Male,Young=no")[0])


def test_equal_names_in_two_datasets_are_qualified():
    space = LabelSpace([LabelGroup("a", ("x", "y"), "one_of"), LabelGroup("b", ("x", "z"), "one_of")])
    assert space.names == ("a:x", "y", "b:x", "z")
    assert space.index("b:x") == 2 and space.index("b:z") == 3
    with pytest.raises(LabelError, match="a:x or b:x"):
        space.parse("x")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Blonde_Hair", "did you mean Blond_Hair.*the labels are Black_Hair"),
        ("Male=maybe", "expected yes or no"),
        ("Blond_Hair,Black_Hair", "exclude each other"),
        ("Blond_Hair=no", "name one of Black_Hair, Brown_Hair instead"),
        ("", "the target is empty"),
    ],
)
def test_bad_targets_are_explained(target, message):
    with pytest.raises(LabelError, match=message):
        ONE.parse(target)


def test_spaces_that_contradict_themselves_are_refused():
    with pytest.raises(LabelError, match="stands twice"):
        LabelGroup("a", ("x", "x"), "binary")
    with pytest.raises(LabelError, match="did you mean"):
        LabelGroup("a", ("xyz", "y"), "binary", (("xyy", "y"),))
    with pytest.raises(LabelError, match="must follow one another"):
        LabelSpace([LabelGroup("a", ("x",), "binary"), RAFD, LabelGroup("a", ("y",), "binary")])


def test_label_spaces_from_words():
    space = LabelSpace.from_text("celeba:binary:Black_Hair,Blond_Hair,Male;rafd:one_of:sad,happy")
    assert space.groups == (
        LabelGroup("celeba", ("Black_Hair", "Blond_Hair", "Male"), "binary", (("Black_Hair", "Blond_Hair"),)),
        LabelGroup("rafd", ("sad", "happy"), "one_of"),
    )
    assert LabelSpace.from_text("A,B").groups[0].labels == ("A", "B")
    with pytest.raises(LabelError, match="cannot read"):
        LabelSpace.from_text("celeba:A,B")
