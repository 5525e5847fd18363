"""Shards in a store like S3: moto's server on this machine, read through s3fs. No traffic leaves the machine."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from asterism.cli import main
from asterism.config import DataConfig, build
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.pictures import PictureError, read
from asterism.packing.shards import write_shards
from asterism.shards import opened, places
from asterism.training import train
from tests.helpers.runs import assert_same_state, small, state

moto_server = pytest.importorskip("moto.server", reason="the store is moto's: pip install 'moto[s3]' flask flask-cors")
pytest.importorskip("s3fs", reason="S3 is read by s3fs: pip install 'asterism[shards]'")

pytestmark = pytest.mark.slow


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    """An empty bucket `pictures`, and a cache of its own."""
    import fsspec

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "_listed", {})
    places._system_of.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3")
    system.mkdir("pictures")
    yield system
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # What it holds outlives the server.
    server.stop()
    places._system_of.cache_clear()


def config(*sources: object, **options: object) -> DataConfig:
    return build(DataConfig, {"sources": [str(s) for s in sources], "size": 32, **options})


def test_a_run_from_a_store_is_the_run_from_files(shapes_dir, tmp_path, store, monkeypatch):
    """Ranges, globs, the whole bucket; indexes that were uploaded are used; worker processes; a missing and a cut shard."""
    write_shards(config(shapes_dir), tmp_path / "shapes", 20_000)
    for file in (tmp_path / "shapes").iterdir():
        store.put(str(file), f"pictures/shapes/{file.name}")
    last = len(list((tmp_path / "shapes").glob("train-*.tar"))) - 1
    braces = f"s3://pictures/shapes/{{train-{{000000..{last:06}}},val-000000,test-000000}}.tar"
    monkeypatch.setattr(places, "reading", lambda place: pytest.fail(f"{place.url} is read through, though it has an index"))
    settings = small(data__workers=1)
    train("stargan", shapes_dir, tmp_path / "files", overrides=settings)
    train("stargan", braces, tmp_path / "run", overrides=settings)
    assert_same_state(state(tmp_path / "files"), state(tmp_path / "run"))
    whole = open_data(config(braces))
    for other in ("s3://pictures/shapes/*.tar", "s3://pictures/shapes"):
        assert open_data(config(other)).fingerprint == whole.fingerprint
    monkeypatch.undo()


def test_what_goes_wrong_in_a_store(shapes_dir, tmp_path, store, monkeypatch):
    write_shards(config(shapes_dir), tmp_path / "shapes", 20_000)
    for file in (tmp_path / "shapes").glob("*.tar"):  # Without indexes: they are read once, and indexed in the cache.
        store.put(str(file), f"pictures/shapes/{file.name}")
    source = "s3://pictures/shapes/train-{000000..000020}.tar"
    first = open_data(config(source))
    missing = 21 - len(list((tmp_path / "shapes").glob("train-*.tar")))
    assert any(f"shards that are not there, left out: {missing} (train-0000" in note for note in first.notes)
    path = first.splits["train"][0].paths[0]
    assert str(path).startswith("s3:/pictures/shapes/train-{000000..000020}.tar!/blue/")
    assert read(path).shape == (32, 32, 3)

    asked, fetch = [], store.cat_file
    monkeypatch.setattr(places, "TRIES", 3)
    monkeypatch.setattr(places.time, "sleep", lambda seconds: None)

    def failing(name: str, **options: object) -> bytes:
        asked.append(name)
        if len(asked) < 3:
            raise TimeoutError("too slow")
        return fetch(name, **options)

    monkeypatch.setattr(places._system_of("s3"), "cat_file", failing)
    assert read(path).shape == (32, 32, 3) and len(asked) == 3  # The third try.
    monkeypatch.setattr(places, "TRIES", 2)
    asked.clear()
    with pytest.raises(DataError, match="does not answer after 2 tries .too slow.*training goes on from its last checkpoint"):
        read(path)
    asked += [""] * 3
    shard = Path(opened._opened[str(Path(source.replace("://", ":/") + "!"))].told["shards"][0]).name
    store.rm(f"pictures/shapes/{shard}")
    with pytest.raises(PictureError, match="there is no such file"):
        read(path)


def test_the_command_line_takes_a_store(discs, tmp_path, store, capsys):
    write_shards(config(discs), tmp_path / "discs", 100_000)
    for file in (tmp_path / "discs").iterdir():
        store.put(str(file), f"pictures/discs/{file.name}")
    words = [f"--{key}={value}" for key, value in small(train__steps=2).items()]
    run = str(tmp_path / "run")
    assert main(["train", "stargan", "--data", "s3://pictures/discs", "--out", run, *words]) == 0
    assert main(["train", "stargan", "--data", "s3://pictures/discs", "--out", run, *words, "--train.steps=4"]) == 0  # Goes on.
    assert main(["evaluate", run, "--protocol", "truth"]) == 0
    assert main(["translate", run, "s3://pictures/discs/val-000000.tar", "--to", "Red", "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").rglob("*__Red.png"))) == 12
    capsys.readouterr()
    absent = "s3://pictures/nothing/a-{0..3}.tar"
    assert main(["train", "stargan", "--data", absent, "--out", str(tmp_path / "none"), *words]) != 0
    assert f"{absent}: there are no such shards" in capsys.readouterr().err
