"""What --data takes: folders and tables become files with labels and splits, and mistakes are named with their remedy."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from asterism.config import DataConfig
from asterism.data.collection import Collection
from asterism.data.dataset import collect, open_data
from asterism.data.exclusive import exclusive_sets
from asterism.data.listing import DataError, list_pictures, split_of
from asterism.labels import LabelGroup


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def folders(root: Path, *names: str, count: int = 3) -> Path:
    for name in names:
        for i in range(count):
            picture(root / name / f"{name.replace('/', '_')}_{i}.png")
    return root


def table(root: Path, text: str, name: str = "manifest.csv", rows: int = 6) -> Path:
    """A table, and the pictures a.png, b.png, ... beside it."""
    root.mkdir(exist_ok=True)
    for letter in "abcdefghij"[:rows]:
        picture(root / f"{letter}.png")
    (root / name).write_text(text)
    return root


def read(path: Path, labels_needed: bool = True, **options: object) -> Collection:
    return collect(DataConfig(sources=(str(path),), **options), labels_needed)[0]  # type: ignore[arg-type]


def open_(*paths: Path, **options: object):
    return open_data(DataConfig(sources=tuple(map(str, paths)), size=(8, 8), **options))  # type: ignore[arg-type]


COLOURS = "file,split,Black,Blond,Red,Smiling\n" + "".join(
    f"{letter}.png,{split},{black},{blond},{red},{smiling}\n"
    for letter, split, black, blond, red, smiling in zip(
        "abcdef",
        ["train"] * 4 + ["val", "test"],
        [1, -1, -1, 1, 1, -1],
        [-1, 1, -1, -1, -1, -1],
        [-1, -1, 1, -1, -1, 1],
        [1, 1, -1, -1, 1, 1],
        strict=True,
    )
)


# -- a folder per domain -----------------------------------------------------------------------------------------------


def test_each_folder_is_a_domain(tmp_path: Path) -> None:
    found = read(folders(tmp_path / "pets", "dog", "cat", "bird"))
    assert found.groups == (LabelGroup("pets", ("bird", "cat", "dog"), "one_of"),)
    for file, row in zip(found.files, found.labels, strict=True):
        assert found.groups[0].labels[int(row.argmax())] == file.split("/")[0]
    assert found.labels.sum() == len(found.files) == 9
    assert found.known.all()


def test_split_folders_are_taken_at_their_word(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        folders(tmp_path / split, "cat", "dog")
    found = read(tmp_path)
    assert found.groups[0].labels == ("cat", "dog")
    assert found.split == [file.split("/")[0] for file in found.files]
    picture(tmp_path / "overview.png")
    beside = read(tmp_path)
    assert (beside.files, beside.unlabelled) == (found.files, ["overview.png"])


def test_stray_files_are_ignored_with_a_note(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog")
    for name in ("cat/.DS_Store", "notes.txt", "cat/._cat_0.png", "__MACOSX/cat/x.png", ".git/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = read(tmp_path)
    assert len(found.files) == 6
    assert "other files, ignored: 5 (.git/, __MACOSX/, cat/.DS_Store, ...)" in found.remarks()
    assert found.groups[0].labels == ("cat", "dog")


def test_one_level_too_high_names_the_right_level(tmp_path: Path) -> None:
    folders(tmp_path / "pets" / "pictures", "cat", "dog")
    with pytest.raises(DataError, match=f"did you mean --data {tmp_path / 'pets' / 'pictures'}"):
        read(tmp_path / "pets")
    folders(tmp_path / "set" / "inner" / "train", "cat", "dog")
    with pytest.raises(DataError, match=f"did you mean --data {tmp_path / 'set' / 'inner'}"):
        read(tmp_path / "set")


def test_one_level_too_low_names_the_right_level(tmp_path: Path) -> None:
    """Beside a folder of one domain may lie anything: that above is named where it holds a table only."""
    folders(tmp_path / "pets", "cat", "dog")
    with pytest.raises(DataError, match="^(?!.*did you mean).*expected two or more folders"):
        read(tmp_path / "pets" / "cat")
    table(tmp_path / "faces", "file,Smiling\nimages/a.png,1\nimages/b.png,-1\n", rows=0)
    folders(tmp_path / "faces", "images")
    with pytest.raises(DataError, match=f"did you mean --data {tmp_path / 'faces'}"):
        read(tmp_path / "faces" / "images")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat"], r"one domain only \(cat\); expected two or more folders"),
        (["train", "test"], "no folder per domain"),
        (["cat/images"], r"one domain only \(cat\)"),
    ],
)
def test_fewer_than_two_domains_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folders(tmp_path, *names))


def test_empty_and_absent_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        read(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "gone")
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="neither a folder nor a table"):
        read(tmp_path / "a.png")
    with pytest.raises(DataError, match="--data"):
        open_data(DataConfig())


def test_a_link_to_a_folder_above_is_not_followed_for_ever(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert len(read(tmp_path).files) == 6


def test_links_that_lead_to_one_another_are_followed_once(tmp_path: Path) -> None:
    """A folder linked from elsewhere is looked into, but not again from within."""
    folders(tmp_path, "cat", "dog")
    (tmp_path / "cat" / "more").symlink_to(tmp_path / "dog")
    (tmp_path / "dog" / "more").symlink_to(tmp_path / "cat")
    listed = list_pictures(tmp_path).pictures
    assert {name.rpartition("/")[0] for name in listed} == {"cat", "cat/more", "dog", "dog/more"} and len(listed) == 12


def test_a_folder_that_may_not_be_read_is_no_domain_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path, "cat", "dog", "owl", "lost+found")
    scan = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if os.fspath(path).endswith(("owl", "lost+found")):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="owl"):
        read(tmp_path)


# -- splits ------------------------------------------------------------------------------------------------------------


def test_splits_without_a_word_depend_on_the_stem_only() -> None:
    splits = [split_of(f"{i:06}.jpg") for i in range(20_000)]
    assert splits[:200] == [split_of(f"elsewhere/{i:06}.png") for i in range(200)]
    shares = [splits.count(split) / len(splits) for split in ("train", "val", "test")]
    assert np.allclose(shares, (0.9, 0.05, 0.05), atol=0.01)
    # Literal, since a change would move pictures between the splits of existing runs.
    assert [i for i in range(100) if splits[i] == "test"] == [12, 83]


def test_what_shares_an_identity_falls_into_one_split(tmp_path: Path) -> None:
    """Patients stay whole, and the two pictures of a pair together; of both columns the patient decides."""
    rows = [(f"{who}_{i}.png", f"p.{who}", f"{who}-{i // 2}") for who in range(40) for i in range(6)]
    for header, cells in (("identity", [1]), ("pair_id", [2]), ("pair_id,identity", [2, 1])):
        root = tmp_path / header
        root.mkdir()
        for file, *_ in rows:
            (root / file).touch()
        lines = [",".join([row[0], *(row[c] for c in cells), str(k % 2)]) for k, row in enumerate(rows)]
        (root / "labels.csv").write_text("\n".join([f"file,{header},Tumour", *lines]))
        found = read(root)
        splits = {row[cells[-1]]: set() for row in rows}
        for row, split in zip(rows, found.split, strict=True):
            splits[row[cells[-1]]].add(split)
        assert all(len(held) == 1 for held in splits.values()) and len(set(found.split)) == 3
        assert found.identity == [row[cells[0]] for row in rows]


def test_a_split_column_is_kept_and_other_words_are_refused(tmp_path: Path) -> None:
    assert read(table(tmp_path / "a", COLOURS)).split == ["train"] * 4 + ["val", "test"]
    with pytest.raises(DataError, match=r"split holds other words: 1 \(holdout\); expected train, val or test"):
        read(table(tmp_path / "b", COLOURS.replace("test", "holdout")))


# -- tables ------------------------------------------------------------------------------------------------------------


def test_celeba_list_is_read_with_its_pictures(table_dir: Path) -> None:
    found = read(table_dir)
    lines = (table_dir / "list_attr_celeba.txt").read_text().splitlines()
    assert found.groups[0].labels == tuple(lines[1].split())
    assert found.groups[0].kind == "binary"
    assert found.groups[0].exclusive == (("Red", "Green", "Blue"),)
    for file, row, line in zip(found.files, found.labels, lines[2:], strict=True):
        name, *values = line.split()
        assert file == f"images/{name}"
        assert row.tolist() == [int(value == "1") for value in values]


def test_a_table_is_found_by_its_own_path_and_under_any_name(table_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(table_dir, tmp_path / "t")
    shutil.move(tmp_path / "t" / "list_attr_celeba.txt", tmp_path / "t" / "labels.txt")
    (tmp_path / "t" / "README.txt").write_text("drawn discs\n")
    assert read(tmp_path / "t").files == read(tmp_path / "t" / "labels.txt").files
    shutil.copy(tmp_path / "t" / "labels.txt", tmp_path / "t" / "more.txt")
    with pytest.raises(DataError, match=r"several tables: 2 \(labels.txt, more.txt\); name one"):
        read(tmp_path / "t")


def test_a_manifest_wins_over_the_list_and_takes_its_labels_from_it(tmp_path: Path) -> None:
    table(
        tmp_path,
        COLOURS.replace("Smiling", "Smiling,flip")
        .replace("1\n", "1,0\n")
        .replace("a.png,train,1,-1,-1,1,0", "a.png,train,1,-1,-1,1,1"),
    )
    (tmp_path / "list_attr_celeba.txt").write_text("1\nBlack Blond Red Smiling\na.png 1 -1 -1 1\n")
    found = read(tmp_path)
    assert found.groups[0].labels == ("Black", "Blond", "Red", "Smiling")
    assert any("flip" in note for note in found.notes)
    assert "flip" in read(tmp_path, labels="flip,Red").groups[0].labels


def test_columns_with_a_meaning_are_no_labels(tmp_path: Path) -> None:
    text = "file,pair_id,Happy,Constant,Age,name\na.png,0,1,1,30,x\nb.png,0,0,1,31,y\nc.png,1,1,1,32,z\n"
    found = read(table(tmp_path, text))
    assert found.groups[0].labels == ("Happy",)
    assert found.identity == ["0", "0", "1"]
    assert found.notes == ["columns not used as labels; --data.labels can add them: 3 (Constant 1, Age 30/31/32, name x/y/z)"]
    assert read(tmp_path, labels="Happy").notes == [], "who chose knows"


def test_a_domain_column_leaves_others_out_with_a_note(tmp_path: Path) -> None:
    found = read(table(tmp_path, "file,domain,Eye\na.png,cat,0\nb.png,dog,1\nc.png,cat,1\nd.png,dog,0\n"))
    assert found.groups[0].labels == ("cat", "dog") and ": 1 (Eye 0/1)" in found.notes[0]


def test_a_domain_column_is_one_group(tmp_path: Path) -> None:
    text = "file,domain,flip\na.png,cat,0\nb.png,dog,1\nc.png,,0\nd.png,cat,1\ne.png,dog,1\nf.png,bird,0\n"
    found = read(table(tmp_path, text))
    assert found.groups == (LabelGroup(tmp_path.name, ("bird", "cat", "dog"), "one_of"),)
    assert found.labels[:3].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert found.known[:, 0].tolist() == [True, True, False, True, True, True]  # The empty cell is unknown.
    both = read(tmp_path, labels="domain,flip")
    assert {group.kind: group.labels for group in both.groups} == {"one_of": ("bird", "cat", "dog"), "binary": ("flip",)}


def test_empty_cells_are_unknown(tmp_path: Path) -> None:
    found = read(
        table(tmp_path, "file;Happy;Old\na.png;1.0;\nb.png;0.0;1\nc.png;;0\n")
    )  # As pandas writes, and Excel in Europe.
    assert found.labels.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert found.known.tolist() == [[True, False], [True, True], [False, True]]


def test_rows_without_files_and_files_without_rows_are_told(tmp_path: Path) -> None:
    found = read(table(tmp_path, COLOURS + "gone.png,train,1,-1,-1,1\n../outside.png,train,1,-1,-1,1\n", rows=8))
    assert (found.missing, found.unlabelled) == (["gone.png", "../outside.png"], ["g.png", "h.png"])
    assert len(found.files) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,Happy\nx.png,1\ny.png,0\n", "none of the pictures is there"),
        ("file,Happy\na.png,1\na.png,0\n", "more than one row for some pictures: 1"),
        ("file,Happy\na.png,1\nb.png\n", "line 3: 1 cells under a header of 2"),
        ('file,Happy\n"a.png,1\n' + "b.png,1\n" * 20_000, "is a quotation mark open?"),
        ("file,Happy,Happy\na.png,1,1\n", "more than one column 'Happy'"),
        ("file,name\na.png,x\nb.png,y\n", "no label columns.*--data.labels"),
        ("file,Happy\n", "no rows"),
    ],
)
def test_malformed_tables_say_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(table(tmp_path, text))


def test_malformed_celeba_lists_say_where(tmp_path: Path) -> None:
    table(tmp_path, "2\nA B\na.png 1 -1\nb.png 1\n", "list_attr_celeba.txt")
    with pytest.raises(DataError, match="line 4: 1 values for 2 attributes"):
        read(tmp_path)
    (tmp_path / "other.txt").write_text("hello\n")
    with pytest.raises(DataError, match="not in CelebA's format; expected the number of pictures in line 1"):
        read(tmp_path / "other.txt")


def test_a_text_column_that_is_no_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'name' is not a label: in 3 rows it holds values: 3"):
        read(table(tmp_path, "file,name\na.png,x\nb.png,y\nc.png,z\n"), labels="name")


# -- labels that exclude each other ------------------------------------------------------------------------------------


def test_labels_that_conflict_are_named(tmp_path: Path) -> None:
    table(tmp_path, COLOURS.replace("Black", "Bald").replace("Blond", "Bangs"))
    assert read(tmp_path).groups[0].exclusive == (("Bald", "Bangs", "Red"),)
    found = read(tmp_path, conflicts="Bald|Bangs, Red|Bangs").groups[0]
    assert (found.conflicts, found.exclusive) == ((("Bald", "Bangs"), ("Red", "Bangs")), ()), "what is stated is not inferred"
    with pytest.raises(DataError, match=r"--data.conflicts Bald\|Bang: Bang is not a label: did you mean Bangs"):
        read(tmp_path, conflicts="Bald|Bang")
    with pytest.raises(DataError, match="--data.conflicts Bold: no table has such a column"):
        open_(tmp_path, conflicts="Bold|Bang")


def test_exclusive_labels_are_configured_or_inferred(tmp_path: Path) -> None:
    table(tmp_path, COLOURS)
    assert read(tmp_path).groups[0].exclusive == (("Black", "Blond", "Red"),)
    assert read(tmp_path, exclusive="Black,Red").groups[0].exclusive == (("Black", "Red"),)
    with pytest.raises(DataError, match="Blnd is not a label: did you mean Blond"):
        read(tmp_path, exclusive="Black,Blnd")
    with pytest.raises(DataError, match="Blnd: no table has such a column .*Blond"):
        open_(tmp_path, exclusive="Blnd")


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=6))
@settings(max_examples=200, deadline=None)
def test_inferred_sets_hold_exactly_once_in_every_row_and_none_is_missed(rows: list[list[bool]]) -> None:
    values = np.array(rows)
    if len(np.unique(values, axis=0)) < 2:
        assert exclusive_sets(values) == []
        return
    varied = [i for i in range(5) if values[:, i].any()]
    true = [c for n in (5, 4, 3, 2) for c in itertools.combinations(varied, n) if (values[:, c].sum(1) == 1).all()]
    found = exclusive_sets(values)
    assert set(found) <= set(true)
    assert len({i for cover in found for i in cover}) == sum(map(len, found))  # No label in two sets.
    assert all(set(cover) & {i for other in found for i in other} for cover in true)  # Nothing more could be added.
    assert not true or max(map(len, found)) == len(true[0])


# -- joined ------------------------------------------------------------------------------------------------------------


def test_joined_datasets_keep_their_own_labels_and_get_names(shapes_dir: Path, table_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes_dir, tmp_path / "shapes")
    data = open_(shapes_dir, table_dir, tmp_path / "shapes")
    assert data.space.datasets == ("shapes", "table", "shapes-2")
    assert data.space.code_size == 3 + 4 + 3 + 3
    for index, train in enumerate(data.splits["train"]):
        span = data.space.dataset_span(index)
        assert (train.dataset, train.name) == (index, data.space.datasets[index])
        assert train.known[:, span].all() and train.known.sum() == len(train) * (span.stop - span.start)
        assert train.labels[:, span].sum() == train.labels.sum() > 0


def test_chosen_labels_apply_where_they_stand(table_dir: Path, shapes_dir: Path) -> None:
    assert open_(table_dir, shapes_dir, labels="Blue,Border").space.names == ("Blue", "Border", "blue", "green", "red")
    with pytest.raises(DataError, match="--data.labels Bordr: no table has such a column .did you mean Border"):
        open_(table_dir, labels="Blue,Bordr")


def test_mixed_channels_need_a_word(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog", count=12)
    picture(tmp_path / "cat" / "grey.png", mode="L")
    with pytest.raises(DataError, match=r"24 with 3.*; 1 with 1, such as .*grey.png.*--data.channels"):
        open_(tmp_path)
    assert open_(tmp_path, channels=1).picture.channels == 1


def test_channels_that_pictures_cannot_be_converted_to_are_no_broken_pictures(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog", count=12)
    with pytest.raises(DataError, match=r"--data.channels 4: pictures that cannot be converted: 24 .*cat_0.png of 3.*omit it"):
        open_(tmp_path, channels=4)
    for name in ("cat", "dog"):
        for i in range(12):
            np.save(tmp_path / name / f"{name}_{i}.npy", np.zeros((40, 40, 4), np.uint8))
            (tmp_path / name / f"{name}_{i}.png").unlink()
    with pytest.raises(DataError, match=r"--data.channels 3: pictures that cannot be converted: 24"):
        open_(tmp_path, channels=3)
    assert open_(tmp_path).picture.channels == 4


def test_one_16_bit_file_makes_all_16_bit(tmp_path: Path) -> None:
    folders(tmp_path, "cat", count=12)
    for i in range(12):
        picture(tmp_path / "dog" / f"dog_{i}.png", mode="I;16")
    data = open_(tmp_path, channels=1)
    assert (data.picture.depth, data.picture.low, data.picture.high) == (16, 0, 65535)
    with pytest.raises(DataError, match="12 pictures have 8 bits, 12 have 16"):  # Of which half would be white.
        open_(tmp_path, channels=1, value_range=(10, 2000))
    with pytest.raises(DataError, match="the lower first"):
        open_(tmp_path, channels=1, value_range=(5, 5))


def test_a_picture_smaller_than_the_crop_is_refused(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog", count=12)
    picture(tmp_path / "cat" / "tiny.png", size=(8, 5))
    with pytest.raises(DataError, match=r"smaller than the crop of 8 pixels: 1 \(cat/tiny.png 8x5\)"):
        open_(tmp_path, crop=8)
    assert len(open_(tmp_path).broken) == 0  # Without a crop it is enlarged.


def test_broken_pictures_are_left_out_by_name(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog", count=12)
    (tmp_path / "cat" / "empty.png").touch()
    data = open_(tmp_path)
    assert data.broken == [(tmp_path / "cat" / "empty.png", "the file is empty")]
    assert sum(len(sets[0]) for sets in data.splits.values()) == 24
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no picture of .* can be read; the first, .*the file is empty"):
        open_(tmp_path)


def test_a_domain_that_training_never_sees_is_refused(tmp_path: Path) -> None:
    folders(tmp_path / "train", "cat", "dog")
    folders(tmp_path / "test", "cat", "dog", "bird")
    with pytest.raises(DataError, match="no training picture has the label bird"):
        open_(tmp_path)


def test_the_fingerprint_tells_other_data(tmp_path: Path) -> None:
    table(tmp_path, COLOURS)
    first = open_(tmp_path).fingerprint
    assert open_(tmp_path).fingerprint == first
    (tmp_path / "manifest.csv").write_text(COLOURS.replace("e.png,val,1,-1,-1,1", "e.png,val,1,-1,-1,-1"))
    assert open_(tmp_path).fingerprint != first


@pytest.mark.parametrize("labels", ["Black,Blond,Red", ""])
def test_values_of_a_set_follow_its_files(tmp_path: Path, labels: str) -> None:
    data = open_(table(tmp_path, COLOURS), labels=labels)
    test = data.splits["test"][0]
    assert [path.name for path in test.paths] == ["f.png"]
    assert test.labels[0, :3].tolist() == [0, 0, 1]
    assert test.identity is None
