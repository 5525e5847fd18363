"""Data as people have them: layouts of folders and forms of tables are read for what they mean, or refused with a remedy."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from asterism.cache import unpacked
from asterism.config import DataConfig
from asterism.data.listing import DataError
from asterism.doctor.examine import examine
from asterism.inference.folder import translate_folder
from asterism.packing import pack
from tests.data.test_sources import COLOURS, folders, open_, picture, read, table
from tests.helpers.negative import negative

CASES = Path(__file__).parents[3] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="the reported inputs are not in the repository")


def labelled(text: str, root: Path, **options: object) -> dict[str, list[tuple[str, int | None]]]:
    """Read a table, and return what each row says of each label: 1, 0 or, where that is unknown, none."""
    found = read(table(root, text), **options)
    names = [name for group in found.groups for name in group.labels]
    cells = [[int(v) if k else None for v, k in zip(*row, strict=True)] for row in zip(found.labels, found.known, strict=True)]
    return {name: [row[i] for row in cells] for i, name in enumerate(names)}


def splits(root: Path, **options: object) -> dict[str, str]:
    found = read(root, **options)
    return dict(zip(found.files, found.split, strict=True))


@needs_cases
@pytest.mark.parametrize(
    ("case", "labels", "counts"),
    [
        ("csv-pandas-index", ("Red", "Big"), (23, 0, 1)),
        ("csv-trailing-separator", ("Red", "Big"), (23, 0, 1)),
        ("cyclegan-layout", ("A", "B"), (24, 0, 8)),
        ("suggests-one-domain", ("cat", "dog"), (24, 0, 8)),
        ("celeba-kaggle", ("Smiling", "Young"), (8, 8, 8)),
        ("celeba-official", ("Smiling", "Young"), (22, 1, 1)),
        ("same-stem", ("Red", "Big"), (18, 3, 3)),
        ("yes-no", ("Red", "Big"), (23, 0, 1)),
        ("nan-cells", ("Red", "Big"), (23, 0, 1)),
        ("ids-without-suffix", ("Red", "Big"), (23, 0, 1)),
        ("capital-split", ("Red", "Big"), (8, 8, 8)),
        ("nested-in-domain", ("cat", "dog"), (28, 0, 4)),
        ("hf-split-metadata", ("cat", "dog"), (10, 0, 10)),
    ],
)
def test_reported_inputs_are_read_for_what_they_mean(case: str, labels: tuple[str, ...], counts: tuple[int, ...]) -> None:
    found = read(CASES / case / "data")
    assert sum((group.labels for group in found.groups), ()) == labels
    assert tuple(map(found.split.count, ("train", "val", "test"))) == counts
    assert found.missing == found.unlabelled == []


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "{split}{domain}",
        "{split}_{domain}",
        "{domain}_{split}",
        "{domain}/{split}",
        "{split}-{domain}",
        "{split}/{domain}/more",
    ],
)
def test_splits_of_two_domains_are_told_from_domains(tmp_path: Path, form: str) -> None:
    folders(tmp_path, *[form.format(split=split, domain=domain) for split in ("train", "test") for domain in "AB"])
    found = read(tmp_path)
    assert found.groups[0].labels == ("A", "B") and found.labels.sum(0).tolist() == [6, 6]
    assert all(split in file for file, split in zip(found.files, found.split, strict=True))


def test_words_for_splits_may_be_words_for_domains(tmp_path: Path) -> None:
    found = read(folders(tmp_path, "train_station", "test_tube", "bridge"))
    assert found.groups[0].labels == ("bridge", "test_tube", "train_station")
    assert read(folders(tmp_path / "rail", "train", "tram", "bus")).groups[0].labels == ("bus", "train", "tram")


@pytest.mark.parametrize(
    ("names", "beside"),
    [
        (["train/cat", "train/dog", "test/cat", "test/dog", "samples"], "samples"),
        (["trainA", "trainB", "testA", "testB", "results"], "results"),
        (["cat/train", "cat/test", "dog/train", "dog/test", "bird"], "bird"),
        (["train", "test", "more"], "more"),
    ],
)
def test_a_folder_beside_splits_is_named_and_no_split_is_suggested(tmp_path: Path, names: list[str], beside: str) -> None:
    folders(tmp_path, *names)
    with pytest.raises(DataError, match=rf"the splits test and train, and beside them folders: 1 \({beside}\)") as error:
        read(tmp_path)
    assert "did you mean" not in str(error.value)


@needs_cases
def test_the_reported_folder_in_the_way_is_named() -> None:
    with pytest.raises(DataError, match=r"beside them folders: 1 \(samples\) that belong to none"):
        read(CASES / "suggests-test-split" / "data")


def test_pictures_in_folders_inside_a_domain_belong_to_it(tmp_path: Path) -> None:
    folders(tmp_path, "cat/s1", "cat/s2/deep", "dog", "dog/s3")
    found = read(tmp_path)
    assert found.groups[0].labels == ("cat", "dog") and found.labels.sum(0).tolist() == [6, 6]
    assert any(note.startswith("pictures in folders inside a domain, which belong to it: 9 (cat/s1/") for note in found.notes)


def test_pictures_of_one_case_stay_in_one_split_where_their_names_repeat(tmp_path: Path) -> None:
    lines = []
    for case in range(60):
        for name in ("t1", "t2"):
            picture(tmp_path / "scans" / f"c{case}" / f"{name}.png")
            lines.append(f"scans/c{case}/{name}.png,{case % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(["file,Tumour", *lines]))
    held = splits(tmp_path)
    assert {*held.values()} == {"train", "val", "test"}
    assert all(held[f"scans/c{case}/t1.png"] == held[f"scans/c{case}/t2.png"] for case in range(60))
    folders_alone = read(folders(tmp_path / "domains", *[f"{d}/p{i}" for d in ("ill", "well") for i in range(40)], count=1))
    assert len({*folders_alone.split}) > 1


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ",file,Red\n0,a.png,1\n1,b.png,0\n",
        "Unnamed: 0.1,Unnamed: 0,file,Red\n0,1,a.png,1\n1,0,b.png,0\n",
        "file,Red,,\na.png,1,,\nb.png,0,,\n",
        "file,Red\na.png,1,\nb.png,0,\n",
        "file;Red;\na.png;1;0\nb.png;0;1\n",
        ",Red\na.png,1\nb.png,0\n",
        "sep=;\nfile;Red\na.png;1\nb.png;0\n",
        'file;"Colour, or ""hue"", as seen";Red\na.png;1, 2;1\nb.png;3;0\n',
    ],
)
def test_columns_without_a_name_name_nothing(tmp_path: Path, text: str) -> None:
    assert labelled(text, tmp_path / "default")["Red"] == [1, 0]
    assert labelled(text, tmp_path / "empty", labels="") == {"Red": [1, 0]}


@pytest.mark.parametrize("text", ["a.png,1\nb.png,0\n", "x,1,0\na.png,0,1\n", "images/a.png;1\nimages/b.png;0\n"])
def test_a_first_line_that_is_no_header_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="which is no header; add a first line that names the columns"):
        read(table(tmp_path, text) / "manifest.csv")


def test_columns_may_be_called_numbers_and_notes_beside_folders_are_no_tables(tmp_path: Path) -> None:
    assert labelled("file,0,1\na.png,1,0\nb.png,0,1\n", tmp_path / "hot") == {"0": [1, 0], "1": [0, 1]}
    folders(tmp_path / "pets", "cat", "dog")
    (tmp_path / "pets" / "meta").mkdir()
    (tmp_path / "pets" / "meta" / "index.csv").write_text("file,width\ncat/cat_0.png,8\n")
    (tmp_path / "pets" / "identity.txt").write_text("About these\npictures\n")
    assert read(tmp_path / "pets").groups[0].labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        *[("yes", "no"), ("Y", "N"), ("T", "f"), ("TRUE", "FALSE"), ("+1", "-1"), ("1.00", "0.00"), ("1,0", "0,0")],
        *[("On", "Off"), ("present", "absent"), ("pos", "neg"), ("+", "-"), ("Ja", "nein"), ("vrai", "FAUX")],
    ],
)
def test_words_of_truth_are_binary(tmp_path: Path, yes: str, no: str) -> None:
    text = f'file\tRed\na.png\t"{yes}"\nb.png\t"{no}"\nc.png\t\n'
    assert labelled(text, tmp_path / "found") == {"Red": [1, 0, None]}
    assert labelled(text.replace("Red", "Big"), tmp_path / "named", labels="Big") == {"Big": [1, 0, None]}


@pytest.mark.parametrize(("encoding", "said"), [("utf-8-sig", False), ("utf-16", False), ("cp1252", True)])
def test_a_table_as_a_spreadsheet_saves_it_is_read(tmp_path: Path, encoding: str, said: bool) -> None:
    table(tmp_path, "", rows=3)
    (tmp_path / "manifest.csv").unlink()
    (tmp_path / "Mappe1.csv").write_bytes("Datei;Lächeln\r\na.png;ja\r\nb.png;nein\r\nc.png;\r\n".encode(encoding))
    found = read(tmp_path)
    assert [g.labels for g in found.groups] == [("Lächeln",)] and found.labels[found.known].tolist() == [True, False]
    assert any("was read as Windows-1252" in note for note in found.notes) == said


def test_a_spreadsheet_beside_pictures_is_named(tmp_path: Path) -> None:
    (table(tmp_path, "") / "manifest.csv").rename(tmp_path / "labels.xlsx")
    with pytest.raises(DataError, match="labels.xlsx is not read as a table: expected a .csv"):
        read(tmp_path)


def test_a_mark_or_nothing_is_binary_and_said(tmp_path: Path) -> None:
    text = "file,Red,Axis\na.png,x,x\nb.png,,y\nc.png,X,x\nd.png,,y\n"
    assert labelled(text, tmp_path) == {"Red": [1, 0, 1, 0]}, "of x and y, x is no mark"
    assert "columns read as yes/no: 1 (Red empty/X/x)" in read(tmp_path).notes


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "N/A", "null", "None", "?", "-", "<NA>", "#N/A", "unknown"])
def test_words_for_nothing_known_are_unknown(tmp_path: Path, word: str) -> None:
    text = f"file,Red,Kind,Split,identity\na.png,1,cat,train,{word}\nb.png,0,dog,{word},{word}\nc.png,{word},{word},test,p\n"
    text += "d.png,0,cat,val,p\n"
    found = read(table(tmp_path, text), labels="Red,Kind")
    assert [g.labels for g in found.groups] == [("Red",), ("cat", "dog")]
    assert found.known.tolist() == [[True] * 3, [True] * 3, [False] * 3, [True] * 3]
    assert found.identity == ["", "", "p", "p"], "nobody is the same as nobody"
    assert any(note.startswith("columns with words that are read as unknown") and word in note for note in found.notes)


def test_texts_that_two_columns_share_are_labels_of_their_own(tmp_path: Path) -> None:
    text = "file,Size,Age\na.png,low,low\nb.png,high,mid\nc.png,low,high\nd.png,high,mid\ne.png,low,low\nf.png,high,high\n"
    found = read(table(tmp_path, text), labels="Size,Age")
    assert [g.labels for g in found.groups] == [("Size_high", "Size_low"), ("Age_high", "Age_low", "mid")]


def test_a_cell_may_hold_several_labels(tmp_path: Path) -> None:
    expected = {"big": [1, 0, 0, 1], "red": [1, 1, 0, 0], "round": [0, 1, 0, 0]}
    for mark in ("|", ";", ", "):
        rows = ["red", "big"], ["round", "red"], ["nothing"], ["big"]
        text = "file\ttags\n" + "".join(f"{f}.png\t{mark.join(row)}\n" for f, row in zip("abcd", rows, strict=True))
        assert labelled(text, tmp_path / mark) == expected | {"nothing": [0, 0, 1, 0]}
    places = "file;city\na.png;Paris, France\nb.png;Rome, Italy\nc.png;Paris, France\nd.png;Rome, Italy\n"
    assert {*labelled(places, tmp_path / "places", labels="city")} == {"Paris, France", "Rome, Italy"}


# -- names of pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "cell"),
    [
        ("Photos/A1.JPG", "a1"),
        ("photos/a1.png", "a1.jpg"),
        ("photos/a1.png", "/home/someone/faces/photos/a1.png"),
        ("a1.png", "C:\\faces\\A1.PNG"),
        ("photos/a1.png", "/mnt/disk/celeba/a1.png"),
        ("deep/photos/a1.png", "photos/a1.png"),
        (unicodedata.normalize("NFD", "Zoë.png"), unicodedata.normalize("NFC", "Zoë")),
        ("1.2.840.png", "1.2.840"),
    ],
)
def test_names_are_matched_by_the_last_part_of_a_path(tmp_path: Path, file: str, cell: str) -> None:
    for name in (file, "other.png"):
        picture(tmp_path / name.replace(".JPG", ".jpg"))
        if name.endswith(".JPG"):
            (tmp_path / name.replace(".JPG", ".jpg")).rename(tmp_path / name)
    (tmp_path / "labels.csv").write_text(f"file,Red\n{cell},1\nother.png,0\n", encoding="utf-8")
    found = read(tmp_path)
    assert found.files == [file, "other.png"] and found.labels[:, 0].tolist() == [1, 0]
    assert any(note.startswith("pictures found by the last part of a name: 1 (") for note in found.notes)


def test_a_name_of_another_folder_is_not_found_for_a_missing_one(tmp_path: Path) -> None:
    for name in ("train/a.png", "test/b.png", "val/c.png"):
        picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,Red\ntrain/a.png,1\ntest/a.png,0\ntest/b.png,0\ntest/c.png,1\n")
    found = read(tmp_path)
    assert (found.files, found.unlabelled) == (["train/a.png", "test/b.png"], ["val/c.png"])
    assert found.missing == ["test/a.png", "test/c.png"]
    assert found.split == ["train", "test"], "the splits are those of the folders"


def test_an_ambiguous_name_names_both_and_none_names_the_nearest(tmp_path: Path) -> None:
    for name in ("one/a.png", "two/a.jpg", "two/b.png"):
        picture(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,Red\na,1\nb,0\n")
    with pytest.raises(DataError, match=r"a may mean one/a\.png or two/a\.jpg: write more of the path"):
        read(tmp_path)
    (tmp_path / "labels.csv").write_text("file,Red\nbb.gif,1\ncc.gif,0\n")
    with pytest.raises(DataError, match=r"none of the pictures is there; .*two/b\.png is most like bb\.gif"):
        read(tmp_path)


def test_pictures_of_several_frames_are_told(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(tmp_path / "cat" / f"film.{suffix}", save_all=True, append_images=frames[1:])
    data = open_(tmp_path)
    told = next(note for note in data.notes if "several frames" in note)
    assert told == "pictures of several frames, of which the first is read: 3 (cat/film.gif 3, cat/film.png 3, cat/film.webp 3)"
    frames[0].save(tmp_path / "cat" / "pages.tif", save_all=True, append_images=frames[1:])
    assert any("it has 3 pages, and one is expected" in reason for _, reason in open_(tmp_path).broken)


def test_the_name_of_a_file_may_be_no_text(tmp_path: Path) -> None:
    """Latin-1 bytes, as old archives unpack to: found, read, packed, translated, and told."""
    folders(tmp_path / "d", "cat", "dog")
    name = os.fsdecode(b"caf\xe9.png")
    picture(tmp_path / "d" / "cat" / name)
    config = DataConfig(sources=(str(tmp_path / "d"),), size=(8, 8))
    assert any(path.name == name for sets in open_(tmp_path / "d").splits.values() for path in sets[0].paths)
    (tmp_path / "d" / "dog" / name).write_bytes(b"")
    diagnosis = examine(config)
    assert (f"dog/{name}", "the file is empty") in diagnosis.datasets[0].unreadable and diagnosis.ok
    pack(config, tmp_path / "packed")
    assert f"cat/{name}" in read(tmp_path / "packed", size=(8, 8)).files
    made = translate_folder(negative(), [tmp_path / "d" / "cat"], ["Male"], tmp_path / "out").written
    assert f"{name.removesuffix('.png')}__Male.png" in [path.name for path in made]


# -- splits and whose a picture is -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        *[("Split", ("train", "Val", "TEST")), ("SET", ("training", "validation", "testing"))],
        *[("partition", ("0", "1", "2")), ("subset", ("train", "dev", "test")), ("phase", ("0", "1", "2"))],
    ],
)
def test_columns_that_say_the_split_are_used(tmp_path: Path, column: str, cells: tuple[str, ...]) -> None:
    text = f"File,{column},Red\n" + "".join(f"{f}.png,{cells[i % 3]},{i // 3}\n" for i, f in enumerate("abcdef"))
    found = read(table(tmp_path, text))
    assert found.split == ["train", "val", "test"] * 2 and found.groups[0].labels == ("Red",)


def test_folds_are_asked_about_and_other_words_are_no_splits(tmp_path: Path) -> None:
    text = "file,fold,Red\n" + "".join(f"{f}.png,{i % 5},{i % 2}\n" for i, f in enumerate("abcdef"))
    with pytest.raises(DataError, match=r"the column fold holds other words: 5 \(0, 1, 2, ...\); .*rename the column"):
        read(table(tmp_path / "folds", text))
    assert labelled(text.replace("fold", "set"), tmp_path / "sets") == {"Red": [0, 1] * 3}
    text = text.replace(",3,", ",0,").replace(",4,", ",1,")
    assert "2" in labelled(text, tmp_path / "named", labels="fold"), "a label, since it is named as one"


@pytest.mark.parametrize("column", ["Patient ID", "patient_id", "Subject", "Identity"])
def test_pictures_of_one_patient_stay_in_one_split(tmp_path: Path, column: str) -> None:
    lines = []
    for i in range(120):
        picture(tmp_path / f"{i:03}.png")
        lines.append(f"{i:03}.png,p{i // 3},{i % 2}")
    (tmp_path / "labels.csv").write_text("\n".join([f"file,{column},Red", *lines]))
    found = read(tmp_path)
    assert {*found.split} == {"train", "val", "test"}
    assert all(len({*found.split[i : i + 3]}) == 1 for i in range(0, 120, 3))
    assert (found.identity is None) == (column != "Identity"), "pictures of a patient are no pairs"
    few = read(table(tmp_path / "few", "file,subject\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n"), labels="subject")
    assert few.groups[0].labels == ("cat", "dog") and not few.notes, "who is named as a label is no patient"


def test_celebas_partition_is_read_where_its_authors_put_it(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / "Img" / "img_align_celeba_png" / f"{i:06}.png")
    names = [f"{i:06}.jpg" for i in range(6)]
    for folder in ("Anno", "Eval"):
        (tmp_path / folder).mkdir()
    rows = [f"{name} {-1 if i % 2 else 1:2}  1" for i, name in enumerate(names)]
    (tmp_path / "Anno" / "list_attr_celeba.txt").write_text("\n".join(["6", "Smiling Young", *rows, ""]))
    (tmp_path / "Anno" / "list_bbox_celeba.txt").write_text("\n".join(["6", "x_1 y_1", *[f"{n} 95 71" for n in names], ""]))
    (tmp_path / "Anno" / "identity_CelebA.txt").write_text("\n".join(f"{name} {i}" for i, name in enumerate(names)))
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text("\n".join(f"{name} {i // 2}" for i, name in enumerate(names)))
    for path in (tmp_path, tmp_path / "Anno" / "list_attr_celeba.txt"):
        found = read(path)
        assert found.split == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
        assert found.groups[0].labels == ("Smiling",) and found.labels[:, 0].tolist() == [1, 0] * 3
    masks = tmp_path / "hq"
    picture(masks / "CelebA-HQ-img" / "0.jpg")
    picture(masks / "CelebA-HQ-img" / "1.jpg")
    (masks / "CelebAMask-HQ-attribute-anno.txt").write_text("2\nSmiling Young\n0.jpg  1 -1\n1.jpg  -1 1\n")
    (masks / "CelebAMask-HQ-pose-anno.txt").write_text("2\nYaw Pitch Raw\n0.jpg 1.5 2 3\n1.jpg 0.1 2 3\n")
    assert read(masks).files == ["CelebA-HQ-img/0.jpg", "CelebA-HQ-img/1.jpg"]


# -- other forms of tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "tsv"])
def test_tables_of_splits_are_read_as_one(tmp_path: Path, suffix: str) -> None:
    """Hugging Face's image folders, and tables called train and test."""
    for split in ("train", "test"):
        for i in range(4):
            picture(tmp_path / split / f"{i}.png")
        rows = [{"file_name": f"{i}.png", "label": "cat" if i % 2 else "dog", "objects": {"box": [1]}} for i in range(4)]
        if suffix == "jsonl":
            text = "\n".join(map(json.dumps, rows))
        else:
            mark = "\t" if suffix == "tsv" else ","
            text = "\n".join(mark.join(row) for row in [["file_name", "label"], *[[r["file_name"], r["label"]] for r in rows]])
        for place in (tmp_path / split / f"metadata.{suffix}", tmp_path / f"{split}.{suffix}"):
            place.write_text(text)
        (tmp_path / f"{split}.{suffix}").rename(tmp_path / f".{split}.{suffix}")
    expected = {f"{split}/{i}.png": split for split in ("train", "test") for i in range(4)}
    found = read(tmp_path)
    assert dict(zip(found.files, found.split, strict=True)) == expected
    assert found.groups[0].labels == ("cat", "dog") and found.labels.sum(0).tolist() == [4, 4]
    for split in ("train", "test"):
        (tmp_path / split / f"metadata.{suffix}").unlink()
        (tmp_path / f".{split}.{suffix}").rename(tmp_path / f"{split}.{suffix}")
    assert splits(tmp_path) == expected


def test_json_lines_hold_truths_lists_and_nothing(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "Red": True, "tags": ["x1", "x2"]}, {"file_name": "b.png", "Red": False, "tags": ["x1"]}]
    last = {"file_name": "c.png", "Red": None, "said": "a line\u2028that another program would end"}
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in [*rows, last])
    found = read(table(tmp_path, text, "metadata.jsonl"), labels="Red,tags")
    assert [g.labels for g in found.groups] == [("Red",), ("x1", "x2")]
    assert found.labels.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]] and not found.known[2].any()


def test_parquet_is_read_or_its_package_named(tmp_path: Path) -> None:
    table(tmp_path, "x", "metadata.parquet")
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        with pytest.raises(DataError, match=r"read by pyarrow, which is not installed: pip install 'asterism\[parquet\]'"):
            read(tmp_path)
        return
    parquet.write_table(pyarrow.table({"file_name": ["a.png", "b.png"], "Red": [True, False]}), tmp_path / "metadata.parquet")
    assert read(tmp_path).labels.tolist() == [[1], [0]]


def test_a_pack_of_several_tables_is_read_as_the_data_are(tmp_path: Path) -> None:
    for split in ("train", "test"):
        folders(tmp_path / "d", split, count=4)
        names = sorted(f.name for f in (tmp_path / "d" / split).iterdir())
        rows = "\n".join(f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(names))
        (tmp_path / "d" / split / "metadata.csv").write_text(f"file_name,label\n{rows}\n")
    pack(DataConfig(sources=(str(tmp_path / "d"),), size=(8, 8)), tmp_path / "packed")
    (one,), (other,) = (open_(tmp_path / name).splits["train"] for name in ("d", "packed"))
    assert one.labels.tolist() == other.labels.tolist() and [p.name for p in one.paths] == [p.name for p in other.paths]


# -- names of files, and archives --------------------------------------------------------------------------------------


def test_labels_come_from_names_by_a_pattern(tmp_path: Path) -> None:
    """UTKFace and RaFD."""
    for i in range(12):
        picture(tmp_path / "utk" / f"{20 + i}_{i % 2}_{i % 3}_2017{i:04}.jpg")
        picture(
            tmp_path
            / "rafd"
            / f"Rafd090_{i // 4:02}_Caucasian_female_{('happy', 'sad')[i % 2]}_{('left', 'right')[i // 2 % 2]}.jpg"
        )
    picture(tmp_path / "utk" / "other.png")
    found = read(tmp_path / "utk", pattern="{age}_{gender}_{race}_*", numbers="age:0:116")
    assert [(g.kind, g.labels) for g in found.groups] == [
        ("binary", ("gender",)),
        ("one_of", ("0", "1", "2")),
        ("number", ("age",)),
    ]
    assert found.labels[found.files.index("23_1_0_20170003.jpg")].tolist() == [1, 1, 0, 0, 23]
    assert found.unlabelled == ["other.png"]
    named = read(tmp_path / "utk", pattern="{age}_{gender}_{race}_*", labels="race")
    assert [g.labels for g in named.groups] == [("0", "1", "2")]
    faces = read(tmp_path / "rafd", pattern="Rafd*_{identity}_*_{emotion}_{gaze}")
    assert [g.labels for g in faces.groups] == [("happy", "sad"), ("left", "right")]
    assert faces.identity == [f"{i:02}" for i in range(3) for _ in range(4)]
    folders(tmp_path / "deep", "cat/s1", "dog/s2")
    assert [g.labels for g in read(tmp_path / "deep", pattern="{kind}/{place}/*").groups] == [("cat", "dog"), ("s1", "s2")]
    for pattern, message in (("{a}-{b}", "fits no picture of"), ("*", "names no column")):
        with pytest.raises(DataError, match=message):
            read(tmp_path / "utk", pattern=pattern)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_archives_are_data(tmp_path: Path, kind: str) -> None:
    folders(tmp_path / "in" / "pets", "cat", "dog")
    path = Path(shutil.make_archive(str(tmp_path / "down.load"), kind, tmp_path / "in"))
    found = read(path)
    assert (found.name, found.groups[0].labels, len(found.files)) == ("pets", ("cat", "dog"), 6)
    assert read(path).root == found.root, "unpacked once"
    assert open_(path).splits["train"][0].paths[0].is_file()
    table(tmp_path / "labelled", COLOURS)
    flat = Path(shutil.make_archive(str(tmp_path / "labelled"), kind, tmp_path / "labelled"))
    assert read(flat).groups[0].labels == ("Black", "Blond", "Red", "Smiling")


def test_an_archive_that_another_process_unpacks_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("cat", "dog"):
            archive.writestr(f"pets/{name}/0.txt", name)
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    rename = Path.rename

    def second(partial: Path, target: Path) -> Path:
        shutil.copytree(partial, target)  # The other process moves its own there first.
        return rename(partial, target)

    monkeypatch.setattr(Path, "rename", second)
    assert sorted(f.name for f in unpacked(tmp_path / "pets.zip").iterdir()) == ["cat", "dog"]
    assert len(list((tmp_path / "cache" / "unpacked").iterdir())) == 1, "what was unpacked twice is gone"


def test_archives_that_cannot_be_unpacked_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/a.png", "x" * 100)
        archive.writestr("../../outside.png", "x")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"x" * 100, b"y" * 100))
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked \(Bad CRC.*download it again"):
        read(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError):
        read(tmp_path / "a.zip")
    assert not (tmp_path / "outside.png").exists() and not (tmp_path.parent / "outside.png").exists()


@pytest.mark.parametrize("packing", ["zip-deflated", "zip-lzma", "zip-bz2", "tar-gz", "tar-bz2", "tar-xz"])
def test_archives_damaged_in_any_way_of_packing_are_named(tmp_path: Path, packing: str) -> None:
    """The first picture is damaged in the middle, so that what unpacks it meets nonsense, or a sum that is wrong."""
    (tmp_path / "a.png").write_bytes(os.urandom(3000).hex().encode())
    kind, _, how = packing.partition("-")
    path = tmp_path / f"pets.{kind}"
    if kind == "zip":
        method = {"deflated": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA, "bz2": zipfile.ZIP_BZIP2}[how]
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.write(tmp_path / "a.png", "cat/a.png")
    else:
        with tarfile.open(path, f"w:{how}") as taped:  # type: ignore[call-overload]
            taped.add(tmp_path / "a.png", "cat/a.png")
    whole = path.read_bytes()
    for at in range(400, len(whole) - 200, 400):
        path.write_bytes(whole[:at] + bytes(byte ^ 255 for byte in whole[at : at + 40]) + whole[at + 40 :])
        with pytest.raises(DataError, match=r"pets\.(zip|tar) (cannot be unpacked|is neither a folder|holds )"):
            read(path)


def test_archives_without_files_or_with_a_hidden_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "none.zip", "w"):
        pass
    with pytest.raises(DataError, match=r"none\.zip is empty: expected pictures"):
        read(tmp_path / "none.zip")
    folders(tmp_path / "in", "cat", "dog")
    path = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "in"))
    found = read(path.rename(tmp_path / ".pets.zip"))
    assert (found.name, found.groups[0].labels) == ("pets", ("cat", "dog"))
