"""A sample is a function of seed, dataset and position; neither workers, ranks nor a broken picture change the others."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from asterism.config import DataConfig
from asterism.data.batch import Batch
from asterism.data.dataset import Datasets, open_data
from asterism.data.listing import DataError
from asterism.data.loader import Loader
from asterism.data.pictures import read, write
from asterism.data.reading import load_rows
from asterism.data.sampling import Sampler, Stream, StreamSampler, balanced_weights
from asterism.data.transforms import zoom
from asterism.engine.distributed import Processes

Step = list[tuple[Batch, Tensor]]

PAIR = (Stream("ref", of="domain"), Stream("ref2", of="ref"))
"""Two pictures of one domain, which is drawn for the sample."""


def loader_of(
    *paths: Path,
    batch_size: int = 8,
    seed: int = 1,
    rank: int = 0,
    world: int = 1,
    batches: Sequence[tuple[int, int]] = (),
    reports: list | None = None,
    **options: object,
) -> tuple[Loader, Datasets]:
    config = DataConfig(sources=tuple(map(str, paths)), **{"size": (32, 32), "workers": 0, **options})  # type: ignore[arg-type]
    data = open_data(config)

    def told(path: Path, reason: str) -> None:
        assert reports is not None, f"{path}: {reason}"
        reports.append((path, reason))

    train = data.splits["train"]
    how = {"batch_size": batch_size, "batches": batches, "seed": seed, "rows": Processes(rank, world).rows}
    return Loader(train, data.picture, config, **how, on_broken=told), data  # type: ignore[arg-type]


def take(loader: Loader, count: int, first: int = 0) -> list[Step]:
    return sources(itertools.islice(loader.iterate(first), count))


def sources(steps: Iterable) -> list[Step]:
    return [[(whole, pictures["x"]) for whole, pictures in step] for step in steps]


def assert_equal(left: list[Step], right: list[Step]) -> None:
    assert len(left) == len(right)
    for (whole, x), (other, y) in zip(itertools.chain(*left), itertools.chain(*right), strict=True):
        assert np.array_equal(x.numpy(), y.numpy()) and x.dtype == y.dtype
        assert {name for name, _ in whole.items()} == {"labels", "known", "dataset", "position", "mirror"}
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(whole.items(), other.items(), strict=True))


def sized(root: Path, suffix: str = ".png") -> Path:
    """A folder per domain whose pictures differ in size; the red value tells the picture, blue the domain."""
    for d, name in enumerate(("cat", "dog")):
        (root / "train" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (40 + i, 60 - i), (i * 20, 0, d * 200)).save(
                root / "train" / name / f"{name}{i}{suffix}", quality=95
            )
    return root


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return sized(tmp_path / "sized")


def test_a_batch_holds_what_its_files_hold(shapes_dir: Path, table_dir: Path) -> None:
    loader, data = loader_of(shapes_dir, table_dir)
    for index, (whole, x) in enumerate(take(loader, 1)[0]):
        train = data.splits["train"][index]
        assert (x.dtype, x.shape) == (torch.uint8, (8, 3, 32, 32))
        assert whole.dataset.tolist() == [index] * 8
        assert whole.position.tolist() == list(range(8))
        assert whole.mirror.dtype == torch.bool
        held = {read(path).transpose(2, 0, 1).tobytes(): row for row, path in enumerate(train.paths)}
        rows = [held[picture.numpy().tobytes()] for picture in x]
        assert torch.equal(whole.labels, train.labels[rows])
        assert torch.equal(whole.known, train.known[rows])


def test_any_step_can_be_asked_for(shapes_dir: Path, table_dir: Path) -> None:
    loader, _ = loader_of(shapes_dir, table_dir)
    assert_equal(take(loader, 3, first=5), take(loader, 8)[5:])
    assert_equal(
        take(loader_of(shapes_dir, table_dir)[0], 2, first=40), take(loader, 42)[40:]
    )  # Epochs later, and without a past.


def test_every_epoch_shows_every_picture_once_in_an_order_of_its_own(shapes_dir: Path) -> None:
    loader, data = loader_of(shapes_dir, batch_size=7)
    count = len(data.splits["train"][0])
    assert loader.steps_per_epoch == -(-count // 7)
    stream = [x for step in take(loader, 3 * loader.steps_per_epoch) for x in step[0][1]]
    epochs = [[x.numpy().tobytes() for x in stream[e * count : (e + 1) * count]] for e in range(3)]
    assert all(len(set(epoch)) == count for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert set(epochs[0]) == set(epochs[1])


def test_half_the_pictures_are_mirrored_and_the_seed_decides(shapes_dir: Path) -> None:
    flags = torch.cat([step[0][0].mirror for step in take(loader_of(shapes_dir)[0], 60)])
    assert 0.4 < flags.float().mean() < 0.6
    other = torch.cat([step[0][0].mirror for step in take(loader_of(shapes_dir, seed=2)[0], 60)])
    assert not torch.equal(flags, other)
    assert not any(step[0][0].mirror.any() for step in take(loader_of(shapes_dir, flip=False)[0], 20))


def test_ranks_share_a_batch(shapes_dir: Path, files: Path) -> None:
    alone = take(loader_of(shapes_dir, files, batch_size=7)[0], 4)
    ranks = [take(loader_of(shapes_dir, files, batch_size=7, rank=rank, world=2)[0], 4) for rank in range(2)]
    joined = [
        [(whole, torch.cat([x, y])) for (whole, x), (_, y) in zip(first, second, strict=True)]
        for first, second in zip(*ranks, strict=True)
    ]
    assert_equal(alone, joined)
    for first, second in zip(*ranks, strict=True):
        assert all(torch.equal(a.labels, b.labels) for (a, _), (b, _) in zip(first, second, strict=True))


def test_batches_of_several_sizes_go_on_where_the_one_before_ended(shapes_dir: Path) -> None:
    """The same pictures in the same order as batches of one size, from any step on, divided among ranks by each batch."""
    sizes = {"batches": [(2, 6), (5, 3)], "batch_size": 4}
    steps = take(loader_of(shapes_dir, **sizes)[0], 7)  # type: ignore[arg-type]
    assert [len(whole) for ((whole, _),) in steps] == [6, 6, 3, 3, 3, 4, 4]
    alone = take(loader_of(shapes_dir, batch_size=29)[0], 1)[0][0]
    assert torch.equal(torch.cat([whole.position for ((whole, _),) in steps]), alone[0].position)
    assert torch.equal(torch.cat([x for ((_, x),) in steps]), alone[1])
    assert_equal(steps[4:], take(loader_of(shapes_dir, **sizes)[0], 3, first=4))  # type: ignore[arg-type]
    ranks = [take(loader_of(shapes_dir, **sizes, rank=rank, world=2)[0], 7) for rank in range(2)]  # type: ignore[arg-type]
    joined = [torch.cat([x, y]) for ((_, x),), ((_, y),) in zip(*ranks, strict=True)]
    assert [x.shape[0] for ((_, x),) in ranks[0]] == [3, 3, 1, 1, 1, 2, 2]
    assert all(torch.equal(x, both) for ((_, x),), both in zip(steps, joined, strict=True))


def test_spawned_workers_change_nothing_and_end_with_the_iterator(shapes_dir: Path, files: Path) -> None:
    wide = files.parent / "wide" / "train"
    for i in range(12):
        (wide / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        write(wide / "ab"[i % 2] / f"{i}.npy", np.full((32, 32, 3), i * 5000, np.uint16))
    paths = (shapes_dir, files, wide.parent)
    cut = files / "train" / "dog" / "dog3.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    reports: list = []
    state = torch.get_rng_state()
    iterator = loader_of(*paths, workers=2, reports=reports)[0].iterate(3)
    spawned = sources(itertools.islice(iterator, 8))
    assert multiprocessing.active_children()
    iterator.close()
    assert not multiprocessing.active_children()
    alone: list = []
    assert_equal(spawned, take(loader_of(*paths, reports=alone)[0], 8, first=3))
    assert reports == alone
    assert spawned[0][0][1].dtype == torch.uint16
    assert torch.equal(torch.get_rng_state(), state)  # Nobody else's random numbers moved.


def test_pictures_of_any_size_are_fitted_and_equal_ones_left_raw(files: Path, shapes_dir: Path) -> None:
    mixed, raw = take(loader_of(files, shapes_dir, size=(16, 24))[0], 1)[0]
    assert mixed[1].shape == (8, 3, 16, 24)
    assert raw[1].shape == (8, 3, 32, 32)
    red, blue = mixed[1][:, 0, 8, 12], mixed[1][:, 2, 8, 12]
    assert set((red % 20).tolist()) == {0}
    assert torch.equal(blue == 200, mixed[0].labels[:, 1] == 1)


def test_a_truncated_picture_is_replaced_by_one_with_its_labels_and_told_once(tmp_path: Path) -> None:
    root = sized(tmp_path / "data", ".jpg")
    broken = [root / "train" / name for name in ("cat/cat3.jpg", "cat/cat4.jpg", "dog/dog7.jpg")]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-40])
    reports: list[tuple[Path, str]] = []
    loader, data = loader_of(root, reports=reports)
    assert not data.broken  # Their headers are whole.
    steps = take(loader, 3 * loader.steps_per_epoch)
    assert sorted(path for path, _ in reports) == broken
    assert all("truncated" in reason for _, reason in reports)
    for ((whole, x),) in steps:
        assert torch.equal(x[:, 2, 16, 16] > 100, whole.labels[:, 1] == 1)
    train = data.splits["train"][0]
    assert load_rows(train, [train.paths.index(path) for path in broken], data.picture).shape == (3, 3, 32, 32)


def test_a_domain_without_a_decodable_picture_is_an_error(tmp_path: Path) -> None:
    """It is not learned from the pictures of another domain."""
    root = sized(tmp_path / "data", ".jpg")
    for path in sorted(root.glob("train/*"))[0].glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="no picture of data can be decoded that has the labels of .*truncated.*Repair"):
        take(loader_of(root, reports=[])[0], 2)


def test_a_small_set_is_decoded_once(shapes_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes_dir, tmp_path / "shapes")
    loader, _ = loader_of(tmp_path / "shapes")
    first = take(loader, 2 * loader.steps_per_epoch)
    for path in (tmp_path / "shapes").glob("*/*.png"):
        path.unlink()
    assert_equal(first, take(loader, 2 * loader.steps_per_epoch))


def test_previews_are_fitted_rows_in_order(files: Path) -> None:
    _, data = loader_of(files, size=(16, 16))
    train = data.splits["train"][0]
    x = load_rows(train, [2, 0], data.picture)
    assert x.dtype == torch.uint8
    assert x[:, 0, 8, 8].tolist() == [int(read(train.paths[row])[0, 0, 0]) for row in (2, 0)]
    assert load_rows(train, [], data.picture).shape == (0, 3, 16, 16)


# -- references --------------------------------------------------------------------------------------------------------


def references_of(path: Path, **options: object) -> Loader:
    config = DataConfig(sources=(str(path),), **{"size": (32, 32), "workers": 0, **options})  # type: ignore[arg-type]
    data = open_data(config)
    return Loader(data.splits["train"], data.picture, config, batch_size=30, seed=1, streams=PAIR, on_broken=print)


def test_pictures_without_one_domain_are_left_out_where_domains_are_learned(table_dir: Path, tmp_path: Path) -> None:
    """An empty cell, and rows in which none or two of the labels hold that --data.exclusive names."""
    cells = ("1,0", "0,1", "1,1", "0,0", ",")
    rows = []
    for i, path in enumerate(sorted((table_dir / "images").iterdir())[:20]):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        rows.append(f"{path.name},{cells[i % 5]},train")
    (tmp_path / "manifest.csv").write_text("\n".join(["file,Round,Square,split", *rows]) + "\n")
    loader = references_of(tmp_path, exclusive="Round,Square")
    assert [len(s) for s in loader.sets] == [8]
    for ((whole, _),) in itertools.islice(loader.iterate(0), 3):
        assert (whole.labels.sum(1) == 1).all() and (whole.labels_ref.sum(1) == 1).all()
        assert len(whole.labels_ref[:, 0].unique()) == 2


def colours(x: Tensor) -> Tensor:
    """Which of blue, green and red a disc is: the channel that stands out most anywhere in the picture."""
    x = x.float()
    return (x - x.mean(1, keepdim=True)).flatten(2).amax(2).argmax(1).sub(2).neg()


def test_references_are_two_pictures_of_one_domain_drawn_equally_often(shapes_dir: Path) -> None:
    drawn = []
    for ((whole, pictures),) in itertools.islice(references_of(shapes_dir).iterate(0), 10):
        domain = whole.labels_ref.argmax(1)
        assert torch.equal(colours(pictures["x_ref"]), domain) and torch.equal(colours(pictures["x_ref2"]), domain)
        assert not torch.equal(pictures["x_ref"], pictures["x_ref2"])
        assert not torch.equal(domain, whole.labels.argmax(1))
        drawn.append(domain)
    share = torch.nn.functional.one_hot(torch.cat(drawn)).float().mean(0)
    assert (share - 1 / 3).abs().max() < 0.1


def test_references_are_drawn_anew_in_every_epoch_and_the_same_from_any_step(shapes_dir: Path) -> None:
    loader = references_of(shapes_dir)
    steps = [pictures["x_ref"] for ((_, pictures),) in itertools.islice(loader.iterate(0), 5)]
    (again,) = itertools.islice(loader.iterate(4), 1)
    assert torch.equal(again[0][1]["x_ref"], steps[4])
    assert not torch.equal(steps[0], steps[loader.steps_per_epoch])


def streamed(path: Path, *streams: Stream, **options: object) -> Iterable:
    """The first ten steps with these streams: (batch, pictures) each."""
    config = DataConfig(sources=(str(path),), size=(32, 32), workers=0, **options)  # type: ignore[arg-type]
    data = open_data(config)
    loader = Loader(
        data.splits["train"], data.picture, config, batch_size=30, seed=1, streams=streams, on_broken=lambda *told: None
    )
    return [step[0] for step in itertools.islice(loader.iterate(0), 10)]


def test_a_stream_of_another_domain_never_shows_the_samples_own(shapes_dir: Path) -> None:
    drawn = []
    for whole, pictures in streamed(shapes_dir, Stream("other", of="other_domain")):
        own, other = whole.labels.argmax(1), whole.labels_other.argmax(1)
        assert (own != other).all() and torch.equal(colours(pictures["x_other"]), other)
        drawn.append((other - own) % 3)
    assert abs(float((torch.cat(drawn) == 1).float().mean()) - 0.5) < 0.1, "either of the other two as often"


def test_a_stream_of_the_same_identity_shows_the_same_thing_in_another_picture(discs: Path) -> None:
    steps = list(streamed(discs, Stream("again", of="same_identity"), flip=False))
    assert len(steps) == 10
    for whole, pictures in steps:
        assert torch.equal(pictures["x"][:, :, 3, 3], pictures["x_again"][:, :, 3, 3]), "the same grey ground"
        assert (whole.labels != whole.labels_again).any(1).all(), (
            "pictures of one thing differ in labels: never the sample itself"
        )


def test_an_aligned_stream_is_cropped_and_mirrored_as_the_sample(discs: Path) -> None:
    for aligned in (True, False):
        stream = Stream("again", of="same_identity", aligned=aligned)
        pairs = [(w.mirror, w.mirror_again, w.window, w.window_again) for w, _ in streamed(discs, stream, zoom=0.5)]
        same = [torch.equal(a, b) and torch.equal(c, d) for a, b, c, d in pairs]
        assert all(same) if aligned else not any(same)


def test_a_stream_of_any_picture_shows_all_of_them(shapes_dir: Path) -> None:
    seen = torch.cat([whole.labels_any.argmax(1) for whole, _ in streamed(shapes_dir, Stream("any", of="any"))])
    assert (torch.bincount(seen) / len(seen) - 1 / 3).abs().max() < 0.1


def test_a_stream_of_the_same_identity_needs_identities(shapes_dir: Path) -> None:
    with pytest.raises(DataError, match="column identity"):
        streamed(shapes_dir, Stream("again", of="same_identity"))


def test_a_partner_is_the_same_thing_in_another_domain_cut_and_mirrored_alike(discs: Path) -> None:
    steps = list(streamed(discs, Stream("pair", of="partner", aligned=True), zoom=0.5))
    for whole, pictures in steps:
        assert torch.equal(pictures["x"][:, :, 3, 3], pictures["x_pair"][:, :, 3, 3]), "the same grey ground"
        assert (whole.labels.argmax(1) != whole.labels_pair.argmax(1)).all()
        assert torch.equal(whole.mirror, whole.mirror_pair) and torch.equal(whole.window, whole.window_pair)


def test_partners_are_drawn_among_those_there_are() -> None:
    """Of three domains either of the other two; a thing without a name has no partner."""
    sampler = StreamSampler([Stream("pair", of="partner")], np.array([0, 1, 2, 1, 1]), ["a", "a", "a", "a", ""], 3, 0)
    drawn = sampler.rows(np.arange(300), np.zeros(300, np.int64))[0][0]
    assert set(drawn) == {1, 2, 3} and min(np.bincount(drawn)[1:]) > 70
    assert not len(sampler.partners_of(4))


def test_a_picture_without_a_partner_is_named_before_training(discs: Path, shapes_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training pictures that are pairs"):
        streamed(shapes_dir, Stream("pair", of="partner"))
    for name in ("a1", "a2", "b1"):
        write(tmp_path / f"{name}.png", np.zeros((32, 32, 3), np.uint8))
    table = "file,domain,identity,split\na1.png,a,one,train\nb1.png,b,one,train\na2.png,a,two,train\n"
    (tmp_path / "manifest.csv").write_text(table)
    with pytest.raises(DataError, match=r"without a partner.*: 1 \(.*a2\.png\); add it to the training pictures"):
        streamed(tmp_path, Stream("pair", of="partner"))


def test_references_need_domains(tmp_path: Path) -> None:
    write(tmp_path / "1.png", np.zeros((32, 32, 3), np.uint8))
    write(tmp_path / "2.png", np.zeros((32, 32, 3), np.uint8))
    write(tmp_path / "3.png", np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "t.csv").write_text("file,split,A,B\n1.png,train,1,0\n2.png,train,0,0\n3.png,train,0,1\n")
    with pytest.raises(DataError, match="--data.exclusive A,B"):
        references_of(tmp_path)


def test_zoom_draws_windows_inside_the_picture(shapes_dir: Path) -> None:
    ((whole, _),) = next(references_of(shapes_dir, zoom=0.8).iterate(0))
    y, x, height, width = whole.window.unbind(1)
    assert ((height < 1) | (width < 1)).float().mean() == pytest.approx(0.5, abs=0.3)
    assert (height * width >= 0.79).all() and (height <= 1).all() and (width <= 1).all()
    assert (y - height / 2 >= -1e-6).all() and (x + width / 2 <= 1 + 1e-6).all()
    assert not torch.equal(whole.window, whole.window_ref)


def test_zoom_enlarges_the_window() -> None:
    x = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    x = x.double()  # The window is in float32 as ever: exact here.
    assert torch.allclose(zoom(x, torch.tensor([[0.5, 0.5, 1, 1]])), x, atol=1e-9)
    right = zoom(x, torch.tensor([[0.5, 0.75, 1, 0.5]]))  # The right half: columns 8 to 16, twice as wide.
    assert torch.allclose(right[0, 0, 0, 1:-1], torch.arange(16.0)[1:-1].double() / 2 + 7.75, atol=1e-9)


# -- balance -----------------------------------------------------------------------------------------------------------


def test_balance_draws_rare_domains_as_often(tmp_path: Path) -> None:
    for name, count in (("cat", 60), ("dog", 12), ("owl", 6)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / "train" / name / f"{i}.png")
    loader, _ = loader_of(tmp_path, size=(8, 8), balance=True)
    drawn = torch.cat([step[0][0].labels for step in take(loader, 3 * 60)])
    assert torch.allclose(drawn.mean(0), torch.full((3,), 1 / 3), atol=0.02)
    assert_equal(take(loader, 2, first=11), take(loader, 13)[11:])


def test_balance_levels_alternatives_and_free_labels_at_once() -> None:
    rng = np.random.default_rng(0)
    hair = rng.choice(3, 3000, p=(0.8, 0.15, 0.05))
    free = rng.random((3000, 2)) < (0.9, 0.02)
    labels = torch.from_numpy(np.concatenate([np.eye(3)[hair], free], axis=1)).float()
    known = torch.ones_like(labels)
    known[:500, 4] = 0
    weights = balanced_weights(labels, known, ((0, 1, 2),))
    shares = np.average(labels.numpy(), axis=0, weights=weights)
    assert np.allclose(shares[:4], (1 / 3, 1 / 3, 1 / 3, 0.5), atol=1e-3)
    seen = known[:, 4].numpy() == 1
    assert abs(np.average(labels[:, 4].numpy()[seen], weights=weights[seen]) - 0.5) < 1e-3
    assert weights.min() > 0


def test_weighted_draws_come_as_often_as_their_weight_says() -> None:
    sampler = Sampler(100, seed=0, dataset=0, weights=np.array([3.0] * 20 + [0.5] * 80))
    counts = np.bincount(sampler.rows(np.arange(100))[0], minlength=100)
    assert set(counts[:20]) == {3}
    assert set(counts[20:]) == {0, 1} and counts[20:].sum() == 40


# -- signals -----------------------------------------------------------------------------------------------------------

SCRIPT = """
import signal, sys, time
from asterism.config import DataConfig
from asterism.data.dataset import open_data
from asterism.data.loader import Loader

if __name__ == "__main__":
    config = DataConfig(sources=(sys.argv[1],), size=(32, 32), workers=1)
    data = open_data(config)
    got = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: got.append(number))
    batches = Loader(data.splits["train"], data.picture, config, batch_size=4, seed=0, on_broken=print).iterate(0)
    next(batches)
    print("ready", flush=True)
    while len(got) < 3:
        time.sleep(0.05)
    for _ in range(10):
        next(batches)
    print("going on", flush=True)
    time.sleep(60)
"""


def test_workers_outlive_signals_but_not_the_training_process(shapes_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(shapes_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # As a terminal and a scheduler do: to all processes.
        os.killpg(process.pid, number)
    assert process.stdout.readline() == "going on\n"
    process.kill()
    process.communicate(timeout=30)  # Ends when the worker has let go of the pipes as well.
