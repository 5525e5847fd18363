"""From recordings to a trained model and to recordings again: packed, trained, used, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asterism import load, train
from asterism.cli import main
from asterism.config import DataConfig
from asterism.data.dataset import open_data
from asterism.data.listing import DataError
from asterism.data.pictures import to_float
from asterism.data.reading import read_picture
from asterism.inference.voices import Voices
from asterism.packing import pack
from asterism.sound.mel import log_mel
from asterism.sound.recordings import encode, read, speech
from asterism.sound.settings import Sound, SoundError
from asterism.storage.run_files import read_log
from tests.helpers.runs import assert_same_state, state
from tests.helpers.voices import speakers, tone

COLUMNS = 64
TINY = {"recipe.conv_dim": 8, "recipe.bottleneck": 4, "recipe.embedding": 4, "recipe.discriminator_conv_dim": 4}


def config(*sources: Path, columns: int = COLUMNS) -> DataConfig:
    return DataConfig(sources=tuple(map(str, sources)), size=(80, columns), workers=0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voices")
    ((folder, _, broken),) = pack(config(speakers(root / "speakers")), root / "pack")
    assert not broken
    return folder


@pytest.fixture(scope="module")
def run(packed: Path) -> Path:
    settings = TINY | {"train.steps": 2, "train.decay_steps": 0, "train.evaluate_every": 0, "train.batch_size": 4}
    settings |= {"data.size": f"80x{COLUMNS}", "train.device": "cpu", "train.precision": "float32", "data.workers": 0}
    train("stargan_vc", packed, packed.parent / "run", preset="small", overrides=settings)
    return packed.parent / "run"


# -- packs -------------------------------------------------------------------------------------------------------------


def test_a_pack_holds_the_normalised_log_mels_of_the_recordings(packed: Path) -> None:
    data = open_data(config(packed))
    sound = data.picture.sound
    assert sound is not None and (data.picture.low, data.picture.high, data.picture.depth) == (-1, 1, 32)
    training = data.splits["train"][0]
    assert training.space.names == ("anna", "bob") and len(training) == 8 and len(data.splits["test"][0]) == 4
    plain = []
    for row, path in enumerate(training.paths):
        file = packed.parent / "speakers" / path.relative_to(packed)
        plain.append(log_mel(speech(read(file), Sound()), Sound()))
        held = torch.from_numpy(read_picture(training, row, data.picture, fitted=False).copy())[None]
        x = to_float(held, data.picture)[0, 0].numpy()  # What networks see is what is stored.
        np.testing.assert_allclose(
            x, (plain[-1] - np.array(sound.mean)[:, None]) / np.array(sound.deviation)[:, None], atol=2e-5
        )
    frames = np.concatenate(plain, 1).astype(np.float64)
    np.testing.assert_allclose(sound.mean, frames.mean(1), rtol=1e-5)
    np.testing.assert_allclose(sound.deviation, frames.std(1), rtol=1e-5)


def test_packing_again_gives_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    ((again, _, _),) = pack(config(packed.parent / "speakers"), tmp_path / "again")
    for name in ("pictures.npy", "pack.json"):
        assert (again / name).read_bytes() == (packed / name).read_bytes()


def test_short_recordings_are_repeated_and_bad_ones_are_named(tmp_path: Path) -> None:
    root = speakers(tmp_path / "speakers", rate=44_100)
    bad = root / "train" / "anna"
    soundfile.write(bad / "brief.wav", tone(200, 0.1), 16_000)
    soundfile.write(bad / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(bad / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    soundfile.write(bad / "low.wav", tone(200, 1, 8000), 8000)
    soundfile.write(bad / "both.wav", np.stack([tone(220, 1), tone(220, 1)], 1), 16_000)
    (bad / "damaged.mp3").write_bytes(b"no sound")
    (bad / "picture.png").write_bytes(b"\x89PNG")
    told: list[str] = []
    ((folder, _, broken),) = pack(config(root, columns=128), tmp_path / "pack", say=told.append)
    reasons = dict(sentence.removeprefix("train/anna/").split(": ", 1) for sentence in broken)
    assert sorted(reasons) == ["brief.wav", "damaged.mp3", "low.wav", "nan.wav", "silent.wav"]
    assert "at least 0.3 s" in reasons["brief.wav"] and "silent" in reasons["silent.wav"]
    assert any("1 (train/anna/both.wav)" in text and "mixed down" in text for text in told)
    assert any("other files, ignored: 1 (train/anna/picture.png)" in text for text in told)
    data = open_data(config(folder, columns=128))
    assert {reason.split(",")[0] for path, reason in data.broken if path.name == "brief.wav"} == {
        reasons["brief.wav"].split(",")[0]
    }
    x = read_picture(data.splits["train"][0], 0, data.picture, fitted=False)
    length = next(n for n in range(60, 128) if np.array_equal(x[..., n:], x[..., : x.shape[2] - n]))
    assert x.shape[2] == 128 and length < 128, "0.6 s are fewer frames, and begin anew"


def test_recordings_are_packed_first(tmp_path: Path, packed: Path) -> None:
    root = packed.parent / "speakers"
    mixed = speakers(tmp_path / "mixed")
    (mixed / "train" / "anna" / "picture.png").write_bytes(b"\x89PNG")  # It hides nothing.
    for data in (root, mixed):
        with pytest.raises(DataError, match=rf"holds recordings, which are packed first: asterism pack {data} --out PACK"):
            open_data(config(data))
    other = pack(config(speakers(tmp_path / "more", ("carl", "bob"))), tmp_path / "other")[0][0]
    with pytest.raises(DataError, match="only if one asterism pack command packed them all"):
        open_data(config(packed, other))
    both = pack(config(root, tmp_path / "more"), tmp_path / "both")
    assert open_data(config(*(folder for folder, _, _ in both))).picture.sound is not None
    one = tmp_path / "alone"
    (one / "anna").mkdir(parents=True)
    soundfile.write(one / "anna" / "a.wav", tone(220), 16_000)
    with pytest.raises(DataError, match="one domain only"):
        pack(config(one), tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_run_on_voices_resumes_exactly(packed: Path, tmp_path: Path) -> None:
    """Windows, partners, dropout and penalties are functions of seed and step."""
    settings = TINY | {"train.steps": 4, "train.decay_steps": 0, "train.batch_size": 4, "train.checkpoint_every": 2}
    settings |= {"data.size": f"80x{COLUMNS}", "train.device": "cpu", "train.precision": "float32", "train.keep": 5}
    settings |= {"train.preview_every": 4, "data.workers": 0}
    for run in ("whole", "parts"):
        train("stargan_vc", packed, tmp_path / run, preset="small", overrides=settings)
    (tmp_path / "parts" / "checkpoints" / "step_00000004.pt").unlink()
    assert state(tmp_path / "parts")["step"] == 2
    train("stargan_vc", packed, tmp_path / "parts", preset="small", overrides=settings)
    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "parts"))


@pytest.mark.slow
def test_two_processes_equal_one(packed: Path, tmp_path: Path) -> None:
    """Partners, windows, dropout and penalties are drawn for the whole batch; in float64, since sums have another order."""
    settings = TINY | {"train.steps": 3, "train.decay_steps": 0, "train.batch_size": 4, "train.log_every": 1}
    settings |= {"data.size": f"80x{COLUMNS}", "train.device": "cpu", "train.precision": "float64", "data.workers": 0}
    settings |= {"train.evaluate_every": 0, "train.preview_every": 1000}
    train("stargan_vc", packed, tmp_path / "one", preset="small", overrides=settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = [sys.executable, "-m", "asterism", "train", "stargan_vc", "--preset", "small", "--data", str(packed)]
    words += ["--out", str(tmp_path / "two"), *(f"--{key}={value}" for key, value in settings.items())]
    ranks = [subprocess.Popen(words, env={**os.environ, **place, "RANK": r, "LOCAL_RANK": r}) for r in ("0", "1")]
    assert [rank.wait() for rank in ranks] == [0, 0]
    one, two = read_log(tmp_path / "one" / "log.jsonl"), read_log(tmp_path / "two" / "log.jsonl")
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert len(a["terms"]) == 8 and b["terms"] == pytest.approx(a["terms"], rel=1e-9, abs=1e-9)


# -- use ---------------------------------------------------------------------------------------------------------------


def test_a_recording_is_translated_at_its_rate_and_length(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = np.stack([tone(220, 1.3, 44_100), tone(220, 1.3, 44_100)], 1)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "clip.flac", source, 44_100)
    soundfile.write(tmp_path / "in" / "silent.wav", np.zeros(16_000), 16_000)
    (tmp_path / "in" / "cut.wav").write_bytes(encode(tone(220), 16_000)[:9_000])
    picture = tmp_path / "in" / "picture.png"
    picture.write_bytes(b"\x89PNG")
    words = ["translate", str(run), str(tmp_path / "in"), "--to", "bob", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "other files, ignored: 1" in said and "picture.png" in said
    assert "cut.wav: it is cut short: its header says 25,644 bytes, and there are 9,000" in said
    assert "silent.wav: it is silent" in said and "mixed down to one: 1" in said and "files written: 1" in said
    made, rate = soundfile.read(tmp_path / "out" / "clip__bob.wav")
    assert (rate, made.shape) == (44_100, (len(source),)) and np.abs(made).max() > 1e-3
    assert main(["translate", str(run), str(picture), "--to", "bob", "--out", str(tmp_path / "no")]) == 1
    assert "picture.png: it is not a readable recording" in capsys.readouterr().out
    assert main([*words, "--skip-existing"]) == 0 and "already there: 1" in capsys.readouterr().out
    assert main(["translate", str(run), str(tmp_path / "in" / "clip.flac"), "--to", "eve", "--out", str(tmp_path / "no")]) != 0
    assert not (tmp_path / "no").exists()


def test_samples_come_back_as_they_came_and_always_the_same(run: Path) -> None:
    voices = Voices(load(run, device="cpu", precision="float32"))
    samples = tone(220, 1.0, 22_050)
    made = voices.translate(samples, 22_050, "bob")
    assert made.shape == samples.shape and made.dtype == np.float32 and np.isfinite(made).all()
    assert np.array_equal(made, voices.translate(samples, 22_050, "bob"))
    assert not np.allclose(made, voices.translate(samples, 22_050, "anna"), atol=1e-3)
    for given, reason in (
        (np.zeros(9, np.int16), "samples are floats"),
        (np.zeros((4, 4, 4), np.float32), "samples are floats"),
    ):
        with pytest.raises(SoundError, match=reason):
            voices.translate(given, 16_000, "bob")


def test_frames_in_windows_are_those_of_the_whole(run: Path) -> None:
    """A translation of many frames does not depend on their number being a multiple of four."""
    voices = Voices(load(run, device="cpu", precision="float32"))
    frames = np.random.default_rng(0).normal(size=(80, 333)).astype(np.float32)
    made = voices.frames(frames, "bob")
    assert made.shape == frames.shape and made.dtype == np.float32
    x = torch.from_numpy(np.pad(frames, ((0, 0), (0, 3)), mode="edge"))[None, None]
    recipe = voices.translator.recipe
    with torch.no_grad():
        expected = recipe.translate(x, torch.tensor([[0.0, 1.0]]))[0, 0, :, :333]
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-4)


class Repeats(torch.nn.Module):
    """A vocoder that anyone can follow: each frame's first band, `hop` times."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, 0, :, None].expand(-1, -1, 128).flatten(1)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_vocoder_is_used_if_its_log_mels_are_the_models(run: Path, tmp_path: Path, suffix: str) -> None:
    translator = load(run, device="cpu", precision="float32")
    path, x = tmp_path / f"vocoder{suffix}", torch.zeros(1, 80, 50)
    frames = torch.export.Dim("frames", min=2, max=10_000)
    exported = torch.export.export(Repeats(), (x,), dynamic_shapes=({2: frames},))
    if suffix == ".pt2":
        torch.export.save(exported, path)
    else:
        torch.onnx.export(exported, dynamo=True).save(path)
    with pytest.raises(
        SoundError, match=rf"does not say which log-mels it takes .*write them to vocoder{suffix}.json beside it"
    ):
        Voices(translator, path)
    stated = {"rate": 16_000, "fft": 1024, "hop": 128, "bands": 80, "low": 80, "high": 7600, "log": 10, "normalised": True}
    beside = path.with_name(path.name + ".json")
    beside.write_text(json.dumps(stated | {"hop": 256, "high": 8000}))
    with pytest.raises(SoundError, match="takes other log-mels than this model makes: hop 256, not 128; high 8000, not 7600"):
        Voices(translator, path)
    samples = tone(220, 0.8)
    for words, own in ((stated, lambda f, s: f), (stated | {"normalised": False, "log": "e"}, natural)):
        beside.write_text(json.dumps(words))
        voices = Voices(translator, path)
        made = voices.translate(samples, 16_000, "bob")
        wanted = own(voices.frames(log_mel(samples, voices.sound), "bob"), voices.sound)[0]
        np.testing.assert_allclose(made, np.repeat(wanted, 128)[: len(samples)], atol=1e-3)


def natural(frames: np.ndarray, sound: Sound) -> np.ndarray:
    """The natural logarithm of the bands."""
    mean, deviation = (np.array(values)[:, None] for values in (sound.mean, sound.deviation))
    return (frames * deviation + mean) * np.log(10)


def test_other_models_take_no_recordings(run: Path, tmp_path: Path) -> None:
    from asterism.storage.model_file import ModelError
    from tests.inference.test_features import negative

    with pytest.raises(ModelError, match="was not trained on recordings"):
        Voices(negative())


def test_a_run_goes_out_as_published_files_and_comes_in_again(run: Path, tmp_path: Path) -> None:
    """Widths and speakers are told from the files; what comes in takes features, since these do not say how they were made."""
    assert main(["export", str(run), "--format", "published", "--out", str(tmp_path / "out")]) == 0
    files = sorted(map(str, (tmp_path / "out").iterdir()))
    assert [Path(file).name for file in files] == ["2.dis.pt", "2.gen.pt"]
    words = ["import", "stargan_vc", *files, "--labels", "voices:one_of:anna,bob", "--out", str(tmp_path / "in")]
    assert main(words) == 0
    x = np.random.default_rng(0).normal(size=(80, 333)).astype(np.float32)
    own, other = (load(folder, device="cpu", precision="float32") for folder in (run, tmp_path / "in"))
    assert np.array_equal(own.translate(x, "bob", fit="full"), other.translate(x, "bob", fit="full"))
    soundfile.write(tmp_path / "clip.wav", tone(220), 16_000)
    assert main(["translate", str(tmp_path / "in"), str(tmp_path / "clip.wav"), "--to", "bob", "--out", str(tmp_path)]) == 1
