"""Label spaces: codes, mask vectors, targets from words, sampling."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.inference.card import described
from asterism.inference.target_words import read_target
from asterism.labels import LabelError, LabelGroup, LabelSpace
from asterism.objectives.classification import classification

HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair")
CELEBA = LabelGroup("celeba", (*HAIR, "Male", "Young"), "binary", (HAIR,))
RAFD = LabelGroup("rafd", ("angry", "happy", "sad"), "one_of")
SCANS = LabelGroup("scans", ("t1", "t2"), "one_of")
ONE = LabelSpace([CELEBA])
JOINT = LabelSpace([CELEBA, RAFD, SCANS])
MIXED = LabelSpace(
    [
        LabelGroup("faces", ("Smiling",), "binary"),
        LabelGroup("faces", ("AU06", "AU12"), "number"),
        LabelGroup("faces", ("age",), "number", low=10, high=90),
    ]
)
EMPTY = LabelSpace([LabelGroup("pictures", (), "binary")])


@st.composite
def spaces(draw):
    """Label spaces of one to four datasets with one or two groups each, of every kind; a dataset may have no labels."""
    groups = []
    for d in range(draw(st.integers(1, 4))):
        for g in range(draw(st.integers(1, 2))):
            labels = tuple(f"d{d}g{g}_{i}" for i in range(draw(st.integers(2, 5))))
            kind = draw(st.sampled_from(["binary", "one_of", "number"]))
            if kind == "binary" and draw(st.integers(0, 3)) == 0:
                labels = ()
            exclusive = (labels[:2],) if kind == "binary" and labels and draw(st.booleans()) else ()
            low = draw(st.integers(-300, 300)) / 100 if kind == "number" else 0.0
            high = low + draw(st.integers(1, 500)) / 100 if kind == "number" else 1.0
            groups.append(LabelGroup(f"d{d}", labels, kind, exclusive, low, high))
    return LabelSpace(groups)


def drawn(space: LabelSpace, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, known and datasets of some samples."""
    rng = torch.Generator().manual_seed(seed)
    dataset = torch.randint(space.num_datasets, (count,), generator=rng)
    return space.sample_uniform(dataset, rng), space.known(dataset), dataset


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_codes_hold_labels_then_one_mask_bit(space, seed):
    labels, known, dataset = drawn(space, 6, seed)
    c = space.encode(labels, known, dataset)
    assert c.shape == (6, space.code_size)
    assert torch.equal(c[:, : space.num_labels], space.shares(labels) * known)
    assert ((c >= -1e-6) & (c <= 1 + 1e-6)).all(), "numbers are shares of their range"
    if space.num_datasets == 1:
        assert c.shape[1] == space.num_labels  # No mask with one dataset: the published shapes.
    else:
        assert torch.equal(c[:, space.num_labels :].argmax(1), dataset)
        assert torch.equal(c[:, space.num_labels :].sum(1), torch.ones(6))
    for row, d in zip(labels, dataset, strict=True):
        span = space.dataset_span(int(d))
        held = {name: pytest.approx(float(v), abs=1e-4) for name, v in zip(space.names[span], row[span], strict=True)}
        assert space.named(row, int(d)) == held


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_sampled_targets_hold_exactly_one_of_each_set_of_alternatives(space, seed):
    labels, known, _ = drawn(space, 20, seed)
    assert (labels * (1 - known) == 0).all()
    for choice in space.alternatives:
        held = labels[:, list(choice)].sum(1)
        assert torch.equal(held, known[:, choice[0]])


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_labels_in_words_are_read_back_as_they_were(space, seed):
    """What the labels of a sample are called is a target that sets just these labels."""
    labels, _, dataset = drawn(space, 1, seed)
    named = space.named(labels[0], int(dataset))
    if named:
        (edit,) = read_target(space, {name: v for name, v in named.items() if v or not space.siblings(space.index(name))})
        assert edit.dataset == int(dataset)
        made = edit.apply(space, torch.zeros_like(labels))[0]
        torch.testing.assert_close(made, labels, rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_single_edits_change_the_label_that_they_name_and_can_be_recognised(space, seed):
    labels, _, dataset = drawn(space, 8, seed)
    for d in range(space.num_datasets):
        mine = labels[dataset == d]
        targets = space.single_edits(mine, d)
        assert [name for name, _ in targets] == list(space.names[space.dataset_span(d)])
        for name, wanted in targets:
            index, changed = space.index(name), ~space.agree(wanted, mine)
            assert not changed[:, [i for i in range(space.num_labels) if i not in (index, *space.siblings(index))]].any()
            assert (space.upper(wanted)[:, index] != space.upper(mine)[:, index]).all() or space.siblings(index)
            assert space.agree(wanted, wanted).all()


@settings(deadline=None)
@given(spaces())
def test_json_round_trip(space):
    assert LabelSpace.from_json(space.to_json()) == space


def test_label_spaces_of_older_models_have_no_ranges():
    assert all("low" not in group for group in JOINT.to_json())
    assert "low" in MIXED.to_json()[1]


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
    (edit,) = read_target(ONE, "Blond_Hair, Male=no")
    labels, known, dataset = edit.apply(ONE, torch.tensor([[1.0, 0, 0, 1, 1]]))
    assert labels.tolist() == [[0, 1, 0, 0, 1]]
    assert known.tolist() == [[1] * 5] and dataset.tolist() == [0]
    assert edit.name == "Blond_Hair+no-Male"
    assert read_target(ONE, {"Blond_Hair": True, "Male": False}) == read_target(ONE, "Blond_Hair,Male=no")


def test_labels_with_commas_and_equals_signs_are_targets_too():
    """Folders may be called so."""
    artists = LabelSpace([LabelGroup("art", ("Monet, Claude", "x=y", "Cezanne"), "one_of")])
    for index, name in enumerate(artists.names):
        assert artists.values(name) == {index: True}
        assert artists.values({name: False}) == {index: False}


def test_a_target_over_two_datasets_is_two_passes_in_order():
    happy, blond = read_target(JOINT, "happy,Blond_Hair")
    assert (happy.dataset, blond.dataset) == (1, 0)
    labels, known, dataset = happy.apply(JOINT, torch.ones(2, 10))
    assert JOINT.encode(labels, known, dataset)[0].tolist() == [0] * 5 + [0, 1, 0] + [0, 0] + [0, 1, 0]


def test_equal_names_in_two_datasets_are_qualified():
    space = LabelSpace([LabelGroup("a", ("x", "y"), "one_of"), LabelGroup("b", ("x", "z"), "one_of")])
    assert space.names == ("a:x", "y", "b:x", "z")
    assert space.index("b:x") == 2 and space.index("b:z") == 3
    with pytest.raises(LabelError, match="a:x or b:x"):
        read_target(space, "x")


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
        read_target(ONE, target)


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_a_number_is_said_with_its_value_and_keeps_to_its_range():
    (edit,) = read_target(MIXED, "AU12=0.8,age=40, Smiling=no")
    assert (dict(edit.values), edit.name) == ({2: 0.8, 3: 40, 0: False}, "AU12=0.8+age=40+no-Smiling")
    labels, known, _ = edit.apply(MIXED, torch.tensor([[1.0, 0.25, 0.0, 20.0]]))
    assert labels.tolist() == [[0, 0.25, pytest.approx(0.8), 40]] and known.tolist() == [[1] * 4]
    assert read_target(MIXED, {"AU12": True, "age": "no"})[0].values == {2: 1, 3: 10}, "yes and no are the ends of the range"
    assert [MIXED.say(2, 0.9), MIXED.say(3, 12.5), MIXED.say(0, 1), MIXED.say(0, 0)] == [
        "AU12=0.9",
        "age=12.5",
        "Smiling",
        "Smiling=no",
    ]
    for words, reason in (("AU12=1.2", "from 0 to 1"), ("age=9", "from 10 to 90"), ("AU12=nan", "from 0 to 1")):
        with pytest.raises(LabelError, match=f"{words}: expected a number {reason}"):
            read_target(MIXED, words)
    with pytest.raises(LabelError, match="Smiling=some: expected yes or no"):
        read_target(MIXED, "Smiling=some")


def test_networks_see_and_say_numbers_as_shares_of_their_range():
    known, dataset = torch.ones(1, 4), torch.zeros(1, dtype=torch.long)
    c = MIXED.encode(torch.tensor([[1.0, 0.25, 0.0, 30.0]]), known, dataset)
    torch.testing.assert_close(c, torch.tensor([[1.0, 0.25, 0.0, 0.25]]))
    known[0, 3] = 0
    assert MIXED.encode(torch.tensor([[1.0, 0.25, 0.0, 30.0]]), known, dataset)[0, 3] == 0, "zero where unknown"
    decided = MIXED.decide(torch.tensor([[-0.1, 0.3, 1.7, 0.5], [2.0, -4.0, 0.6, -1.0]]))
    torch.testing.assert_close(decided, torch.tensor([[0.0, 0.3, 1.0, 50.0], [1.0, 0.0, 0.6, 10.0]]))


def test_numbers_agree_within_a_tenth_of_their_range():
    assert MIXED.tolerance == (0, 0.1, 0.1, 8)
    said = torch.tensor([[1.0, 0.25, 0.5, 50.0]])
    assert MIXED.agree(said, torch.tensor([[0.0, 0.3, 0.61, 57.0]])).tolist() == [[False, True, False, True]]
    assert MIXED.holds(said, torch.ones(1, 4), 3, 43).tolist() == [True]
    assert MIXED.holds(said, torch.tensor([[1.0, 1, 1, 0]]), 3, 43).tolist() == [False], "it is not known"


def test_a_number_is_edited_to_the_end_of_its_range_that_is_further_away():
    edits = dict(MIXED.single_edits(torch.tensor([[1.0, 0.1, 0.5, 30.0], [0.0, 0.9, 0.2, 70.0]]), 0))
    assert edits["AU06"][:, 1].tolist() == [1, 0] and edits["AU12"][:, 2].tolist() == [0, 1]
    assert edits["age"][:, 3].tolist() == [90, 10] and edits["Smiling"][:, 0].tolist() == [0, 1]


def test_uniform_targets_spread_over_the_range():
    labels = MIXED.sample_uniform(torch.zeros(4000, dtype=torch.long), torch.Generator().manual_seed(0))
    assert labels[:, 3].min() < 12 and labels[:, 3].max() > 88 and labels[:, 3].mean().item() == pytest.approx(50, abs=1)
    assert labels[:, 0].unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"kind": "number", "low": 1, "high": 1}, "expected the lower number first"),
        ({"kind": "number", "low": 0, "high": float("inf")}, "expected the lower number first"),
        ({"kind": "binary", "low": 0, "high": 5}, "a range belongs to numbers"),
        ({"kind": "number", "exclusive": (("a",),)}, "belong to binary groups"),
        ({"kind": "number", "labels": ()}, "without labels"),
        ({"kind": "grades"}, "'binary', 'one_of' or 'number'"),
    ],
)
def test_impossible_groups_are_refused(group, message):
    with pytest.raises(LabelError, match=message):
        LabelGroup("x", group.pop("labels", ("a",)), **group)


# -- no labels ---------------------------------------------------------------------------------------------------------


def test_a_space_without_labels_has_codes_without_entries():
    dataset = torch.zeros(3, dtype=torch.long)
    labels, known = EMPTY.sample_uniform(dataset, torch.Generator().manual_seed(0)), EMPTY.known(dataset)
    assert (EMPTY.num_labels, EMPTY.code_size, EMPTY.names) == (0, 0, ())
    assert EMPTY.encode(labels, known, dataset).shape == (3, 0) == EMPTY.decide(torch.zeros(3, 0)).shape
    assert EMPTY.named(labels[0]) == {} and EMPTY.single_edits(labels, 0) == [] and EMPTY.agree(labels, labels).all()
    assert classification(torch.zeros(3, 0), labels, known, EMPTY).tolist() == [0, 0, 0]
    with pytest.raises(LabelError, match="there are no labels"):
        read_target(EMPTY, "Smiling")
    with pytest.raises(LabelError, match="there are no labels to name"):
        read_target(EMPTY, "")


def test_a_dataset_without_labels_joins_one_with_labels():
    space = LabelSpace([RAFD, LabelGroup("pictures", (), "binary")])
    dataset = torch.tensor([0, 1])
    labels = torch.tensor([[0.0, 1, 0], [0, 0, 0]])
    c = space.encode(labels, space.known(dataset), dataset)
    assert c.tolist() == [[0, 1, 0, 1, 0], [0, 0, 0, 0, 1]]
    assert space.named(labels[0], 0) == {"angry": False, "happy": True, "sad": False} and space.named(labels[1], 1) == {}
    assert space.dataset_span(1) == slice(3, 3) and space.single_edits(labels, 1) == []


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


HEADS = LabelSpace(
    [LabelGroup("heads", ("Bald", "Bangs", "Hat", "Male"), "binary", conflicts=(("Bald", "Bangs"), ("Bangs", "Hat")))]
)


def test_a_target_ends_what_it_conflicts_with_and_nothing_else():
    with pytest.raises(LabelError, match="Bald and Bangs exclude each other: name one of them"):
        read_target(HEADS, "Bald,Bangs")
    held = torch.tensor([[0.0, 1, 0, 1], [1, 0, 1, 0]])
    for words, wanted in (
        ("Bald", [[1, 0, 0, 1], [1, 0, 1, 0]]),
        ("Bangs", [[0, 1, 0, 1], [0, 1, 0, 0]]),
        ("Bangs=no", [[0, 0, 0, 1], [1, 0, 1, 0]]),  # Unlike of alternatives, none may hold.
        ("Bald,Hat", [[1, 0, 1, 1], [1, 0, 1, 0]]),
    ):
        assert read_target(HEADS, words)[0].apply(HEADS, held)[0].tolist() == wanted, words
    edits = dict(HEADS.single_edits(held, 0))
    assert edits["Bald"].tolist() == [[1, 0, 0, 1], [0, 0, 1, 0]]
    assert edits["Bangs"].tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]
    assert edits["Male"].tolist() == [[0, 1, 0, 0], [1, 0, 1, 1]]


def test_uniform_targets_hold_no_conflict():
    drawn = HEADS.sample_uniform(torch.zeros(400, dtype=torch.long), torch.Generator().manual_seed(0))
    assert not (drawn[:, 0] * drawn[:, 1]).any() and not (drawn[:, 1] * drawn[:, 2]).any()
    assert (drawn.sum(0) > 60).all() and (drawn[:, :2].sum(1) == 0).any() and (drawn[:, 0] * drawn[:, 2]).any()


def test_conflicts_are_kept_said_and_checked():
    assert LabelSpace.from_json(json.loads(json.dumps(HEADS.to_json()))) == HEADS
    assert described(HEADS.groups[0]) == "any of Bald, Bangs, Hat, Male; not Bald with Bangs; not Bangs with Hat"
    assert LabelSpace.from_text("Bald,Bangs,Male").groups[0].conflicts == (("Bald", "Bangs"),)
    with pytest.raises(LabelError, match="'Bang' is not a label of 'heads': did you mean Bangs"):
        LabelGroup("heads", ("Bald", "Bangs"), "binary", conflicts=(("Bald", "Bang"),))
    with pytest.raises(LabelError, match="belong to binary groups"):
        LabelGroup("heads", ("Bald", "Bangs"), "one_of", conflicts=(("Bald", "Bangs"),))
    with pytest.raises(LabelError, match="'Blond' of 'heads' is one of an exclusive set, and conflicts"):
        LabelGroup("heads", ("Blond", "Dark", "Bald"), "binary", (("Blond", "Dark"),), conflicts=(("Bald", "Blond"),))
