"""Label maps and pairs of two kinds: found or said, never averaged, packed as they are, and refused where they are wrong."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.config import ConfigError, DataConfig, TrainConfig, build
from asterism.data.dataset import Datasets, open_data
from asterism.data.label_maps import as_made, colours
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.data.pictures import PictureFormat, to_float, write
from asterism.data.reading import load_rows
from asterism.data.sampling import Stream
from asterism.doctor.examine import examine
from asterism.engine.distributed import Processes
from asterism.engine.run import build as build_recipe
from asterism.engine.step import Steps
from asterism.machine import Machine
from asterism.networks.label_maps import planes
from asterism.packing import pack
from asterism.recipes.settings import Settings
from tests.helpers.label_maps import COLOURS, SIDE, ids, palette, put, write_instances
from tests.helpers.label_maps import write as write_maps

PAIR = (Stream("pair", of="partner", aligned=True),)


def config(root: Path, **options: object) -> DataConfig:
    return build(DataConfig, {"sources": [str(root)], "size": 16, "workers": 0, **options})


def opened(root: Path, **options: object) -> Datasets:
    return open_data(config(root, **options), two_kinds=True)


def batches(root: Path, count: int = 3, **options: object) -> list[dict[str, torch.Tensor]]:
    """The first batches of stored pictures."""
    data = opened(root, **options)
    loader = Loader(
        data.splits["train"],
        data.picture,
        config(root, **options),
        batch_size=4,
        seed=0,
        streams=PAIR,
        on_broken=lambda *told: pytest.fail(str(told)),
    )
    return [pictures for ((_, pictures),) in itertools.islice(loader.iterate(0), count)]


def edit(root: Path, change: Callable[[Path], None], name: str = "0.png") -> Path:
    change(root / "train" / "A" / name)
    return root


# -- what is a label map -----------------------------------------------------------------------------------------------


def test_palettes_that_are_alike_are_label_maps(tmp_path: Path) -> None:
    data = opened(write_maps(tmp_path))
    assert data.picture.source == PictureFormat(1, 16, 16, 0, 4, classes=5) and data.picture.channels == 3
    assert [n for n in data.notes if "label maps of 5 classes, of which 5 occur (found" in n]
    assert len(batches(tmp_path)[0]["x"]) == 4


def test_dark_grey_values_are_ids_and_bright_ones_are_not(tmp_path: Path) -> None:
    assert opened(write_maps(tmp_path / "ids", Image.fromarray)).picture.taken.classes == 5
    bright = opened(write_maps(tmp_path / "grey", lambda array: Image.fromarray(array * 50))).picture.taken
    assert (bright.classes, bright.channels) == (0, 1)
    drawings = write_maps(tmp_path / "drawings", lambda array: Image.fromarray(array > 0))
    assert opened(drawings).picture.taken.classes == 0
    assert opened(drawings, classes=2).picture.taken.classes == 2


def test_pictures_with_palettes_of_their_own_are_no_label_maps(tmp_path: Path) -> None:
    counter = itertools.count()
    root = write_maps(tmp_path, lambda array: palette(array, COLOURS + next(counter) % 2))
    assert opened(root).picture.source is None


def test_zero_classes_and_channels_read_colours(tmp_path: Path) -> None:
    root = write_maps(tmp_path)
    for options in ({"classes": 0}, {"channels": 3}):
        data = opened(root, **options)
        x = load_rows(data.splits["train"][0], [0], data.picture)
        assert data.picture.source is None and x.shape[1] == 3
    assert opened(root, channels=1, classes=9).picture == PictureFormat(
        1, 16, 16, source=PictureFormat(1, 16, 16, 0, 8, classes=9)
    )


def test_recipes_of_one_kind_read_colours_and_refuse_classes(tmp_path: Path) -> None:
    root = write_maps(tmp_path)
    assert open_data(config(root)).picture.source is None
    with pytest.raises(DataError, match="the recipe, have no such"):
        open_data(config(root, classes=5))


# -- never averaged ----------------------------------------------------------------------------------------------------


def test_ids_are_never_averaged_and_lie_on_their_pictures(tmp_path: Path) -> None:
    """Resized, cropped and mirrored: every value is an id, and where the picture shows a pure colour it is that of the id."""
    root, settings = write_maps(tmp_path), {"data.zoom": 0.4, "data.workers": 0, "data.size": 16, "train.batch_size": 4}
    settings |= {"recipe.discriminator_layers": 1, "recipe.conv_dim": 4, "recipe.discriminator_conv_dim": 4}
    resolved = Settings.resolve("pix2pix", [str(root)], overrides=settings)
    data = open_data(resolved.data, two_kinds=True)
    recipe = build_recipe(resolved, data)
    loader = Loader(
        data.splits["train"], data.picture, resolved.data, batch_size=4, seed=0, streams=recipe.streams, on_broken=print
    )
    steps = Steps(recipe, TrainConfig(batch_size=4), Machine.choose("cpu", "float32"), Processes())
    wanted, pure, mirrored = torch.from_numpy(COLOURS).float() / 127.5 - 1, 0, set()
    for ((whole, stored),) in itertools.islice(loader.iterate(0), 8):
        batch = steps.prepare(whole, stored)
        assert torch.isin(batch.x, torch.arange(5.0)).all() and batch.x.shape == (4, 1, 16, 16)
        assert (batch.labels[:, 0] == 1).all() and batch.x_pair.shape == (4, 3, 16, 16)
        gap = (batch.x_pair[:, None] - wanted[None, :, :, None, None]).abs().amax(2)  # [N, 5, H, W]
        clear = gap.amin(1) < 1e-3
        pure += int(clear.sum())
        assert (gap.argmin(1)[clear] == batch.x[:, 0][clear]).float().mean() > 0.995
        mirrored |= set(batch.mirror.tolist())
    assert pure > 3000 and mirrored == {False, True}


def test_a_pack_gives_the_same_maps(tmp_path: Path) -> None:
    for write_set, name in ((write_maps, "maps"), (write_instances, "instances")):
        root = write_set(tmp_path / name)
        pack(config(root), tmp_path / f"{name}.pack")
        assert opened(tmp_path / f"{name}.pack").picture == opened(root).picture
        for mine, theirs in zip(batches(root), batches(tmp_path / f"{name}.pack"), strict=True):
            for key, format_ in (("x", opened(root).picture.taken), ("x_pair", opened(root).picture)):
                small = theirs[key]
                assert small.dtype == mine[key].dtype and small.shape[1:] == (format_.channels, 16, 16)
                if key == "x":  # From files they are fitted on the device.
                    step = SIDE / 16
                    rows = (torch.arange(16).add(0.5) * step).long()
                    assert torch.equal(small.int(), mine[key].int()[:, :, rows][:, :, :, rows])
        with pytest.raises(DataError, match="pack the files again"):
            opened(tmp_path / f"{name}.pack", classes=9)
        with pytest.raises(DataError, match="pack the files again"):
            open_data(config(tmp_path / f"{name}.pack"))


# -- instances ---------------------------------------------------------------------------------------------------------


def test_pix2pixhds_folders_and_names_are_read(tmp_path: Path) -> None:
    data = opened(write_instances(tmp_path), size=SIDE)
    assert list(data.space.names) == ["label", "img"]
    assert (data.picture.taken.channels, data.picture.taken.depth, data.picture.taken.planes) == (2, 16, 6)
    (train,) = data.splits["train"]
    row = train.is_source.index(True)
    x = load_rows(train, [row], data.picture.taken)[0].int().numpy()
    number = int(train.paths[row].name.partition("_")[0][1:])
    assert np.array_equal(x[0], ids(number)) and set(np.unique(x[1])) - {7} <= set(range(33_000, 33_005))
    assert "label maps of 5 classes with instances" in examine(config(tmp_path)).datasets[0].notes[-1]


def test_a_table_may_name_instance_maps(tmp_path: Path) -> None:
    write_instances(tmp_path)
    names = {
        kind: sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob(f"*_{kind}/*"))
        for kind in ("label", "inst", "img")
    }
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        rows = sorted(zip(names["label"], names["img"], names["inst"], strict=True))
        csv.writer(file).writerows([["map", "photo", "instances"], *rows])
    data = opened(tmp_path)
    assert list(data.space.names) == ["map", "photo"] and data.picture.taken.channels == 2
    assert not [note for note in data.notes if "without a label" in note]


def test_ids_of_32_bits_become_others_that_tell_instances_apart(tmp_path: Path) -> None:
    root = write_instances(tmp_path)
    for path in root.glob("*_inst/*"):
        wide = np.array(Image.open(path)).astype(np.int32) * 50_000
        Image.fromarray(wide, "I").save(path.with_suffix(".tif"))
        path.unlink()
    data = opened(root)
    (train,) = data.splits["train"]
    row = train.is_source.index(True)
    x = load_rows(train, [row], data.picture.taken).float()
    assert len(x[0, 1].unique()) >= 5 and planes(x, 5)[:, 5].sum() > 0


# -- other kinds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "made"), [(3, 1), (1, 3)])
def test_channels_may_differ(channels: int, made: int, tmp_path: Path) -> None:
    for number, split in enumerate(("train",) * 8 + ("val", "test")):
        colour = Image.fromarray(COLOURS[ids(number)])
        kinds = {3: colour, 1: colour.convert("L")}
        put(kinds[channels], tmp_path / split / "A" / f"{number}.png")
        put(kinds[made], tmp_path / split / "B" / f"{number}.png")
    data = opened(tmp_path)
    assert (data.picture.taken.channels, data.picture.channels) == (channels, made)
    first = batches(tmp_path)[0]
    assert (first["x"].shape[1], first["x_pair"].shape[1]) == (channels, made)
    with pytest.raises(DataError, match="different numbers of channels"):
        open_data(config(tmp_path))
    (train,) = data.splits["train"]
    shown = load_rows(train, range(len(train)), data.picture)
    assert shown.shape[1] == made


def test_each_kind_has_its_own_values(tmp_path: Path) -> None:
    for number, split in enumerate(("train",) * 8 + ("val", "test")):
        slice_ = (ids(number).astype(np.uint16) * 1000)[:, :, None]
        for domain, factor in (("A", 1), ("B", 0.5)):
            path = tmp_path / split / domain / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, (slice_ * factor).astype(np.uint16))
    data = opened(tmp_path, value_range="0,2000", source_range="0,4000")
    assert (data.picture.high, data.picture.taken.high, data.picture.depth) == (2000, 4000, 16)
    (train,) = data.splits["train"]
    for row, format_ in ((train.is_source.index(True), data.picture.taken), (train.is_source.index(False), data.picture)):
        assert to_float(load_rows(train, [row], format_), format_).max() == 1
    with pytest.raises(DataError, match="source_range is for"):
        open_data(config(tmp_path, source_range="0,4000"))


def test_classes_have_colours_beside_what_is_made_of_them() -> None:
    assert len(colours(256).unique(dim=0)) == 256 and (colours(3)[0] == -1).all()
    maps = PictureFormat(3, 2, 2, source=PictureFormat(1, 2, 2, 0, 2, classes=3))
    x = torch.tensor([[[[0.0, 1], [2, 2]]]])
    assert torch.equal(as_made(x, maps)[0, :, 1, 0], colours(3)[2])
    assert as_made(x, PictureFormat(1, 2, 2, source=maps.source)).shape == (1, 1, 2, 2)


# -- what is wrong -----------------------------------------------------------------------------------------------------


def as_jpeg(path: Path) -> None:
    Image.open(path).convert("L").save(path.with_suffix(".jpg"))
    path.unlink()


def transparent(path: Path) -> None:
    Image.open(path).save(path, transparency=0)


def larger(path: Path) -> None:
    palette(ids(0, 48)).save(path)


WRONG = {
    "an id beyond the classes": (lambda path: palette(np.full((SIDE, SIDE), 12, np.uint8)).save(path), 5, "holds the id 12"),
    "JPEG": (as_jpeg, 5, "is a JPEG, which blends ids"),
    "transparency": (transparent, 5, "has transparency"),
    "colours": (lambda path: Image.open(path).convert("RGB").save(path), 5, r"has 3 channels \(RGB\); a label map"),
    "floats": (lambda path: (path.unlink(), np.save(path.with_suffix(".npy"), np.zeros((SIDE, SIDE)))), 5, "features|float32"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_label_map_is_refused_by_name(what: str, tmp_path: Path) -> None:
    change, classes, words = WRONG[what]
    with pytest.raises(DataError, match=words) as raised:
        opened(edit(write_maps(tmp_path), change), classes=classes)
    assert "0." in str(raised.value) and len(str(raised.value)) < 400


def test_a_map_that_cannot_be_read_is_named_and_does_not_make_pictures_of_the_others(tmp_path: Path) -> None:
    root = edit(write_maps(tmp_path), lambda path: path.write_bytes(path.read_bytes()[:90]))
    with pytest.raises(DataError, match=r"0\.png cannot be a label map"):
        opened(root)


def test_a_domain_of_which_nothing_can_be_read_is_named(tmp_path: Path) -> None:
    root = write_maps(tmp_path)
    for path in root.glob("*/B/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no training picture has the label B"):
        opened(root)


def test_a_folder_called_label_must_hold_label_maps(tmp_path: Path) -> None:
    root = write_instances(tmp_path)
    shutil.rmtree(root / "train_inst")
    for name in ("val_inst", "test_inst"):
        shutil.rmtree(root / name)
    as_jpeg(root / "train_label" / "x0_gtFine_labelIds.png")
    with pytest.raises(DataError, match=r"x0_gtFine_labelIds\.jpg cannot be a label map: it is a JPEG"):
        opened(root)


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs of different sizes: 1 \(.*0\.png 48x48"):
        batches(edit(write_maps(tmp_path), larger))


def test_instance_maps_that_lack_or_differ_are_named(tmp_path: Path) -> None:
    root = write_instances(tmp_path)
    path = root / "train_inst" / "x3_gtFine_instanceIds.png"
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(path)
    with pytest.raises(DataError, match=r"x3_gtFine_labelIds\.png .*its instance map is 9x9; expected 24x24"):
        opened(root)
    path.unlink()
    with pytest.raises(DataError, match=r"without an instance map of the same name: 1 \(train_label/x3_gtFine"):
        opened(root)


def test_maps_are_sources_and_the_direction_is_that_of_the_data(tmp_path: Path) -> None:
    root = write_maps(tmp_path)
    with pytest.raises(DataError, match="has 3 channels"):
        opened(root, pairs="BtoA", classes=5)
    resolved = Settings.resolve(
        "pix2pix", [str(root)], overrides={"recipe.direction": "BtoA", "recipe.discriminator_layers": 1}
    )
    with pytest.raises(ConfigError, match="turn the domains round with --data.pairs BtoA"):
        build_recipe(resolved, opened(root))
