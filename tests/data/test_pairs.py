"""Pairs: every layout that they come in, what is wrong with them, and that both halves are cropped and mirrored alike."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from asterism.config import DataConfig, TrainConfig, build
from asterism.data.collection import Collection
from asterism.data.dataset import collect, open_data
from asterism.data.halves import read_row
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.data.pairs import groups
from asterism.data.reading import read_picture
from asterism.data.sampling import Stream
from asterism.doctor.examine import Diagnosis, examine
from asterism.engine.distributed import Processes
from asterism.engine.run import build as build_recipe
from asterism.engine.step import Steps
from asterism.evaluation.evaluate import evaluate
from asterism.machine import Machine
from asterism.recipes.settings import Settings
from asterism.training import train
from tests.data.test_pack import TINY, assert_same, config, packed
from tests.helpers.evaluating import CPU, values

COUNT, SIDE = 40, 32
AVATARS = Path(__file__).parents[3] / "shared" / "data" / "avatars_peeps"


def halves(number: int) -> tuple[Image.Image, Image.Image]:
    """A pair: where each pixel lies, from left to right and from above, and in blue which pair, and which half."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] * 8
    return tuple(Image.fromarray(np.stack([x, y, np.full_like(x, number + shift)], 2).astype(np.uint8)) for shift in (0, 128))


def put(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def sheet(a: Image.Image, b: Image.Image) -> Image.Image:
    both = Image.new("RGB", (a.width + b.width, a.height))
    both.paste(a, (0, 0))
    both.paste(b, (a.width, 0))
    return both


def split_of(number: int) -> str:
    return ("train", "train", "train", "val", "test")[number % 5]


def folders(where: str) -> Callable[[Path], None]:
    """A layout of two folders: where a picture lies, by its split, its domain and its number."""

    def write(root: Path) -> None:
        for number in range(COUNT):
            for domain, half in zip("AB", halves(number), strict=True):
                put(half, root / where.format(split=split_of(number), domain=domain, lower=domain.lower(), number=number))

    return write


def sheets(where: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for number in range(COUNT):
            put(sheet(*halves(number)), root / where.format(split=split_of(number), number=number))

    return write


def table(header: str, *more: str) -> Callable[[Path], None]:
    """A table with a row per pair, its pictures in folders of no meaning, and further columns."""

    def write(root: Path) -> None:
        rows = []
        for number in range(COUNT):
            names = [f"pictures/{letter}{number}.png" for letter in "xy"]
            for half, name in zip(halves(number), names, strict=True):
                put(half, root / name)
            rows.append([*names, split_of(number), *(str(number % 3 // 2) for _ in more)])
        with open(root / "list.csv", "w", newline="") as file:
            csv.writer(file).writerows([[*header.split(","), "split", *more], *rows])

    return write


def manifest(root: Path) -> None:
    folders("{domain}/{number}_{domain}.png")(root)
    rows = [f"{d}/{n}_{d}.png,{d},{split_of(n)},p{n}" for n in range(COUNT) for d in "AB"]
    (root / "manifest.csv").write_text("\n".join(["file,domain,split,pair_id", *rows]))


def read(root: Path, **options: object) -> Collection:
    return collect(DataConfig(sources=(str(root),), **options))[0]  # type: ignore[arg-type]


# -- layouts -----------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "side by side": (sheets("{number}.png"), "AtoB", "AB", False),
    "side by side, from B": (sheets("{number}.png"), "BtoA", "BA", False),
    "side by side in splits": (sheets("{split}/{number}.png"), "AtoB", "AB", True),
    "A and B": (folders("{domain}/{number}.png"), None, "AB", False),
    "a and b": (folders("{lower}/{number}.png"), None, "ab", False),
    "A and B, from B": (folders("{domain}/{number}.png"), "BtoA", "BA", False),
    "A and B in splits": (folders("{split}/{domain}/{number}.png"), None, "AB", True),
    "trainA": (folders("{split}{domain}/{number}.png"), None, "AB", True),
    "train_A": (folders("{split}_{domain}/{number}.png"), None, "AB", True),
    "A_train": (folders("{domain}_{split}/{number}.png"), None, "AB", True),
    "splits in A and B": (folders("{domain}/{split}/{number}.png"), None, "AB", True),
    "other folders": (folders("of_{domain}/{number}.png"), "AtoB", ("of_A", "of_B"), False),
    "other suffixes": (folders("of_{domain}/{number}.png"), "BtoA", ("of_B", "of_A"), False),
    "two columns": (table("photo,drawing"), None, ("photo", "drawing"), True),
    "two columns, from B": (table("photo,drawing"), "BtoA", ("drawing", "photo"), True),
    "a column file": (table("file,drawing"), None, ("file", "drawing"), True),
    "two columns and labels": (table("photo,drawing", "Old"), "AtoB", ("photo", "drawing"), True),
    "a manifest": (manifest, None, "AB", True),
    "a manifest, from B": (manifest, "BtoA", "BA", True),
}


@pytest.mark.parametrize(("write", "pairs", "domains", "splits"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_read_as_pairs(
    write: Callable[[Path], None], pairs: str | None, domains: str, splits: bool, tmp_path: Path
) -> None:
    write(tmp_path)
    found = read(tmp_path, pairs=pairs)
    (group,) = found.groups
    assert (group.kind, group.labels) == ("one_of", tuple(domains))
    assert len(found.files) == 2 * COUNT and found.known.all() and not found.unlabelled
    shared = groups(found.identity, found.labels)
    assert len(shared) == COUNT
    turn = pairs == "BtoA"
    seen = set()
    for rows in shared:
        a, b = sorted(rows, key=lambda row: found.labels[row].argmax(), reverse=turn)
        (left, right) = (read_row(found.root / found.files[row]) for row in (a, b))
        number = int(left[0, 0, 2])
        assert [np.array(half).tolist() for half in halves(number)] == [left.tolist(), right.tolist()]
        assert found.split[a] == found.split[b], "both are in one split"
        assert not splits or found.split[a] == split_of(number)
        seen.add(number)
    assert seen == set(range(COUNT))
    assert [note for note in found.notes if note.startswith(f"pairs: {COUNT}, from {domains[0]} to {domains[1]}")]


def test_any_two_domains_of_one_identity_are_a_pair(tmp_path: Path) -> None:
    rows = []
    for number in range(3):
        for domain in "xyz"[: 3 - number % 2]:
            put(halves(number)[0], tmp_path / f"{domain}{number}.png")
            rows.append(f"{domain}{number}.png,{domain},p{number}")
    (tmp_path / "manifest.csv").write_text("\n".join(["file,domain,pair_id", *rows, "x0.png,x,"][:-1]))
    found = read(tmp_path)
    assert [len(rows) for rows in groups(found.identity, found.labels)] == [3, 2, 3]
    with pytest.raises(DataError, match=r"pairs of domains: 3 \(x, y, z\); expected two domains.*of more, say names"):
        read(tmp_path, pairs="AtoB")
    assert read(tmp_path, pairs="names").identity == found.identity


def test_names_take_equal_names_in_any_number_of_folders_for_pairs_and_no_halves(tmp_path: Path) -> None:
    for number in range(3):
        for domain in "xyz"[: 3 - number % 2]:
            put(halves(number)[0], tmp_path / domain / f"{number}.png")
    assert read(tmp_path).identity is None
    found = read(tmp_path, pairs="names")
    assert sorted(found.identity) == sorted("000112" + "22") and found.groups[0].labels == ("x", "y", "z")
    assert "pairs: 3 things, each in several of 3 domains" in found.notes
    put(halves(0)[0], tmp_path / "flat" / "0.png")
    with pytest.raises(DataError, match="no pictures that are said to be pairs"):
        read(tmp_path / "flat", pairs="names")


def test_cyclegans_folders_of_other_names_are_two_unpaired_domains(tmp_path: Path) -> None:
    folders("{split}{domain}/{domain}_{number}.png")(tmp_path)
    found = read(tmp_path)
    assert found.groups[0].labels == ("A", "B") and found.identity is None
    assert found.split == [split_of(int(file.split("_")[1].removesuffix(".png"))) for file in found.files]
    with pytest.raises(DataError, match="no pictures that are said to be pairs"):
        read(tmp_path, pairs="AtoB")


def test_words_that_only_begin_like_a_split_are_domains(tmp_path: Path) -> None:
    for name in ("trains", "tests", "valves"):
        put(halves(0)[0], tmp_path / name / "1.png")
    assert read(tmp_path).groups[0].labels == ("tests", "trains", "valves")


def test_equal_names_in_other_folders_are_pairs_only_when_asked_for(tmp_path: Path) -> None:
    folders("of_{domain}/{number}.png")(tmp_path)
    found = read(tmp_path)
    assert found.identity is None
    assert found.notes == ["names that of_A and of_B share; --data.pairs AtoB takes these for pairs: 40 (0, 1, 10, ...)"]


def test_labels_of_a_table_win_over_columns_of_pictures_unless_pairs_are_asked_for(tmp_path: Path) -> None:
    table("photo,drawing", "Old")(tmp_path)
    found = read(tmp_path)
    assert found.groups[0].labels == ("Old",) and len(found.files) == COUNT
    assert any("columns of pictures, which --data.pairs AtoB takes for domains" in note for note in found.notes)


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_a_missing_half_is_named_and_refused_only_where_pairs_are_learned(tmp_path: Path) -> None:
    folders("{split}/{domain}/{number}.png")(tmp_path)
    for number in (0, 1, 3):  # The last one is of the validation split.
        (tmp_path / split_of(number) / "B" / f"{number}.png").unlink()
    said = "a partner, which recipes that learn from pairs refuse: 3 (train/A/0.png, train/A/1.png, val/A/3.png)"
    opened = open_data(config(tmp_path))
    assert any(note.endswith(said) for note in opened.notes)
    (held,) = opened.splits["train"]
    assert len(held) == 2 * 24 - 2

    def loader(of: str) -> Loader:
        streams = (Stream("pair", of=of, aligned=True),)
        return Loader([held], opened.picture, config(tmp_path), batch_size=4, seed=0, streams=streams, on_broken=print)

    assert len(loader("any").sets[0]) == len(held)
    with pytest.raises(DataError, match=r"without a partner.*: 2 \(.*train/A/0.png, .*\); add it to the training pictures"):
        loader("partner")


def test_a_name_that_comes_twice_is_in_no_pair_but_each_file_of_two_halves_is(tmp_path: Path) -> None:
    folders("{domain}/{number}.png")(tmp_path / "folders")
    put(halves(0)[0], tmp_path / "folders" / "A" / "0.bmp")
    found = read(tmp_path / "folders")
    assert len(groups(found.identity, found.labels)) == COUNT - 1
    assert found.notes[-1].endswith("refuse: 3 (A/0.bmp, A/0.png, B/0.png)")
    sheets("{number}.png")(tmp_path / "sheets")
    put(sheet(*halves(99)), tmp_path / "sheets" / "0.bmp")
    found = read(tmp_path / "sheets", pairs="AtoB")
    shared = groups(found.identity, found.labels)
    assert len(shared) == COUNT + 1 and all(len(rows) == 2 for rows in shared)


def test_a_partner_in_another_split_is_none(tmp_path: Path) -> None:
    folders("{split}{domain}/{number}.png")(tmp_path)
    shutil.move(tmp_path / "trainB" / "0.png", tmp_path / "testB" / "0.png")
    assert len(groups(read(tmp_path).identity, read(tmp_path).labels)) == COUNT - 1


def test_sets_without_pairs_say_what_would_be_pairs(shapes_dir: Path) -> None:
    with pytest.raises(DataError, match="no training pictures that are pairs: give folders A and B .*or a column pair_id"):
        open_data(config(shapes_dir)).splits["train"][0].check_pairs()


def test_halves_of_other_sizes_are_named_and_refused_where_pairs_are_learned(tmp_path: Path) -> None:
    folders("{domain}/{number}.png")(tmp_path)
    put(halves(1)[1].resize((30, 32)), tmp_path / "B" / "1.png")
    named = r"1 \(A/1.png 32x32 and B/1.png 30x32\)"
    (held,) = open_data(config(tmp_path)).splits["train"]
    with pytest.raises(DataError, match=f"pairs of different sizes: {named}; make both alike"):
        held.check_pairs()
    assert warned(examine(config(tmp_path)), "pairs of different sizes, which recipes that learn from pairs refuse")


def test_an_odd_width_is_refused_by_name(tmp_path: Path) -> None:
    sheets("{number}.png")(tmp_path)
    put(sheet(*halves(7)).crop((0, 0, 63, 32)), tmp_path / "7.png")
    said = f"{tmp_path / '7.png'}: it is 63 pixels wide, which does not divide into two halves side by side"
    with pytest.raises(DataError, match=said):
        open_data(config(tmp_path, pairs="AtoB"))
    (problem,) = examine(config(tmp_path, pairs="AtoB")).problems
    assert problem.startswith(said)


def test_both_halves_of_a_broken_file_are_left_out(tmp_path: Path) -> None:
    sheets("{number}.png")(tmp_path)
    (tmp_path / "3.png").write_bytes(b"no picture")
    opened = open_data(config(tmp_path, pairs="AtoB"))
    assert [path.name for path, _ in opened.broken] == ["3.png#left", "3.png#right"]
    assert sum(len(sets[0]) for sets in opened.splits.values()) == 2 * COUNT - 2


def test_layouts_that_are_mixed_are_refused(tmp_path: Path) -> None:
    sheets("{split}/{number}.png")(tmp_path)
    put(halves(0)[0], tmp_path / "train" / "A" / "0.png")
    with pytest.raises(DataError, match="pictures at several levels, such as test/14.png and train/A/0.png; expected"):
        read(tmp_path, pairs="AtoB")


def test_pictures_side_by_side_are_hinted_at_where_nothing_is_asked_for(tmp_path: Path) -> None:
    sheets("{number}.png")(tmp_path)
    with pytest.raises(DataError, match="--data.pairs AtoB reads each as two side by side"):
        read(tmp_path)


# -- the doctor --------------------------------------------------------------------------------------------------------


def warned(diagnosis: Diagnosis, words: str) -> list[str]:
    return [text for text in diagnosis.warnings if words in text]


def drawings(root: Path, change: Callable[[int, Image.Image], Image.Image]) -> DataConfig:
    """Pairs of one drawing in two colours, of which the second is changed."""
    for number in range(COUNT):
        rng = np.random.default_rng(number)
        cells = rng.random((6, 6)) > 0.5
        shape = Image.fromarray(cells).resize((48, 48), Image.Resampling.NEAREST)
        ground = np.zeros((64, 64), bool)
        ground[8:56, 8:56] = np.asarray(shape)
        for domain, colours in (("A", ([200, 40, 30], [255, 250, 200])), ("B", ([20, 20, 30], [60, 90, 250]))):
            picture = Image.fromarray(np.where(ground[:, :, None], *colours).astype(np.uint8))
            put(change(number, picture) if domain == "B" else picture, root / domain / f"{number}.png")
    return config(root)


def test_the_doctor_sees_whether_halves_lie_on_each_other(tmp_path: Path) -> None:
    true = examine(drawings(tmp_path / "true", lambda number, x: x))
    assert true.ok and not warned(true, "pairs")
    shifted = examine(drawings(tmp_path / "shifted", lambda number, x: ImageChops.offset(x, 6, -6)))
    (said,) = warned(shifted, "not aligned")
    assert "about 9% to the right and 9% higher" in said and shifted.ok
    strangers = drawings(tmp_path / "strangers", lambda number, x: x.transpose(Image.Transpose(number % 5 + 1)))
    assert warned(examine(strangers), "agree hardly more than those of different pairs")


def test_the_doctor_on_true_pairs(tmp_path: Path) -> None:
    """One avatar with two expressions, and the same shifted by a tenth."""
    if not AVATARS.is_dir():
        pytest.skip("the avatars are not beside this checkout")
    for name in sorted(path.name for path in (AVATARS / "happy").iterdir())[:80]:
        with Image.open(AVATARS / "neutral" / name) as a, Image.open(AVATARS / "happy" / name) as b:
            for root, second in (("true", b), ("shifted", ImageChops.offset(b, 13, 13))):
                put(a, tmp_path / root / "A" / name)
                put(second, tmp_path / root / "B" / name)
    assert not warned(examine(config(tmp_path / "true")), "pair")
    assert warned(examine(config(tmp_path / "shifted")), "second one lies about 9% to the right and 9% lower")


# -- the rest of the product -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["side by side", "A and B", "two columns"])
def test_both_of_a_pair_are_cropped_enlarged_and_mirrored_alike(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout][0](tmp_path)
    data = config(tmp_path, pairs=LAYOUTS[layout][1], zoom=0.3, crop=28)
    opened = open_data(data)
    streams = (Stream("pair", of="same_identity", aligned=True), Stream("loose", of="pair"))
    loader = Loader(opened.splits["train"], opened.picture, data, batch_size=16, seed=0, streams=streams, on_broken=print)
    settings = Settings.resolve("cyclegan", [str(tmp_path)], "small", {"data.size": 24, "data.crop": 28})
    steps = Steps(build_recipe(settings, opened), TrainConfig(batch_size=16), Machine.choose("cpu", "float32"), Processes())
    whole, pictures = next(loader.iterate(0))[0]
    assert whole.mirror.any() and not whole.mirror.all() and (whole.window[:, 2] < 0.9).any()
    batch = steps.prepare(whole, pictures)
    assert torch.allclose(batch.x[:, :2], batch.x_pair[:, :2], atol=1e-6)
    assert not torch.allclose(batch.x[:, :2], batch.x_loose[:, :2], atol=0.1)
    apart = (batch.x[:, 2] - batch.x_pair[:, 2]).abs() * 127.5
    assert torch.allclose(apart, torch.full_like(apart, 128), atol=1e-3), "the same pair, the other half"
    assert (batch.labels.argmax(1) != batch.labels_pair.argmax(1)).all()


@pytest.mark.parametrize("layout", ["side by side in splits", "side by side, from B", "two columns, from B", "trainA"])
def test_a_pack_of_pairs_is_what_its_files_are(layout: str, tmp_path: Path) -> None:
    write, pairs, _, _ = LAYOUTS[layout]
    write(tmp_path / "data")
    packs = packed(tmp_path, tmp_path / "data", pairs=pairs)
    assert_same(config(tmp_path / "data", pairs=pairs), packs)
    bare = config(Path(packs.sources[0]))  # The pack knows how it was read.
    assert_same(config(tmp_path / "data", pairs=pairs), bare)
    (held,) = open_data(bare).splits["train"]
    assert read_picture(held, 0, open_data(bare).picture, fitted=True).shape == (3, 24, 24)


def test_pairs_are_trained_on_and_measured_against_the_truth(tmp_path: Path) -> None:
    sheets("{split}/{number}.png")(tmp_path / "data")
    train("stargan", tmp_path / "data", tmp_path / "run", overrides=TINY | {"data.pairs": "BtoA"})
    (record,) = evaluate(tmp_path / "run", protocols=["truth"], **CPU).values()
    assert values(record, "real")["psnr"] == 100 and values(record, "copy")["error inside"] > 0


def test_other_words_than_a_direction_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of AtoB, BtoA"):
        build(DataConfig, {"pairs": "yes"})
