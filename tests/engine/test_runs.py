"""The engine: resume, kill, signals, several processes, guard, schedules, averages, fine-tuning."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from asterism import train
from asterism.config import ConfigError, TrainConfig
from asterism.engine import checkpoint
from asterism.engine.checkpoint import CheckpointError
from asterism.engine.distributed import Processes
from asterism.engine.ema import Average, decay
from asterism.engine.finetune import adopt
from asterism.engine.optimizers import rate_factor
from asterism.engine.run import OWN_LICENCE, in_steps, start
from asterism.engine.trainer import TrainingError
from asterism.export.samples import find_samples
from asterism.labels import LabelGroup, LabelSpace
from asterism.machine import Machine
from asterism.recipes.model import load_model
from asterism.recipes.settings import Settings
from asterism.signals import stop_signals
from asterism.storage.model_file import ModelError
from asterism.storage.run_files import read_log
from tests.helpers.recipes import COUNT, SPACES, batch_of, tiny, trainer_of
from tests.helpers.runs import assert_same_state, command, flat, small, state

# -- resume ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(table_dir, shapes_dir, tmp_path, workers):
    """Two datasets, float32, decaying rate; stopped at step 4 of 8 by a shorter --train.steps is another run's schedule,
    so the stop is a checkpoint taken out of the longer run."""
    data, settings = [table_dir, shapes_dir], small(data__workers=workers, train__keep=5)
    train("stargan", data, tmp_path / "whole", overrides=settings)

    train("stargan", data, tmp_path / "parts", overrides=settings)
    (tmp_path / "parts" / "checkpoints" / "step_00000008.pt").unlink()
    before = state(tmp_path / "parts")
    assert before["step"] == 4
    train("stargan", data, tmp_path / "parts", overrides=settings)

    assert_same_state(state(tmp_path / "whole"), state(tmp_path / "parts"))
    logs = [read_log(tmp_path / run / "log.jsonl") for run in ("whole", "parts")]
    assert [line["step"] for line in logs[1]] == [2, 4, 6, 8]  # Rewound, not doubled.
    assert [line["terms"] for line in logs[0]] == [line["terms"] for line in logs[1]]


def test_a_resumed_run_of_stargan_v2_continues_its_curves_bit_for_bit(shapes_dir, tmp_path):
    """With what changes over its steps: lazy R1, a diversity weight on its way to zero, averages, and references anew."""
    keys = {"capacity": 256, "max_width": 8, "mapping_width": 8, "style_dim": 8, "diversity_steps": 7, "penalty_every": 3}
    settings = {f"recipe.{key}": value for key, value in keys.items()}
    settings |= {f"train.{key}": value for key, value in {"steps": 8, "batch_size": 4, "ema_kimg": 0.01, "keep": 5}.items()}
    settings |= {"train.precision": "float32", "train.log_every": 1, "train.checkpoint_every": 4}
    settings |= {"data.size": 32, "data.zoom": 0.8, "data.workers": 0}
    for run in ("whole", "parts"):
        train("stargan_v2", shapes_dir, tmp_path / run, overrides=settings)
    (tmp_path / "parts" / "checkpoints" / "step_00000008.pt").unlink()
    train("stargan_v2", shapes_dir, tmp_path / "parts", overrides=settings)

    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert_same_state(whole, parts)
    assert any(key.startswith("mapping_network.") for key in parts["average"])
    logs = [[(line["step"], line["terms"]) for line in read_log(tmp_path / run / "log.jsonl")] for run in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert [step for step, terms in logs[1] if "discriminator_latent/penalty" in terms] == [3, 6]


def test_a_kill_between_checkpoint_and_model_file_is_made_good(shapes_dir, tmp_path):
    """The model file is written after the checkpoint; a finished run must not keep that of an earlier step."""
    out = tmp_path / "run"
    train("stargan", shapes_dir, out, overrides=small(train__steps=4))
    stale = (out / "model.safetensors").read_bytes()
    train("stargan", shapes_dir, out, overrides=small(train__steps=6))
    final = load_model(out / "model.safetensors")
    for left in (stale, None):
        (out / "model.safetensors").unlink()
        if left:
            (out / "model.safetensors").write_bytes(left)
        train("stargan", shapes_dir, out, overrides=small(train__steps=6))
        model = load_model(out / "model.safetensors")
        assert model.info["step"] == 6
        own = model.recipe.state_dict()
        assert len(own) > 10 and all(torch.equal(own[key], tensor) for key, tensor in final.recipe.state_dict().items())


def test_an_unreadable_checkpoint_is_passed_over(shapes_dir, tmp_path, capsys):
    train("stargan", shapes_dir, tmp_path / "run", overrides=small())
    (tmp_path / "run" / "checkpoints" / "step_00000008.pt").write_bytes(b"PK\x03\x04 cut")
    assert train("stargan", shapes_dir, tmp_path / "run", overrides=small()).step == 8
    assert "step_00000008.pt cannot be read" in capsys.readouterr().out


def test_resume_refuses_other_settings_and_other_data(shapes_dir, table_dir, tmp_path):
    out = tmp_path / "run"
    train("stargan", shapes_dir, out, overrides=small(train__steps=4))
    with pytest.raises(ConfigError, match=r"train.batch_size: 4 -> 2"):
        train("stargan", shapes_dir, out, overrides=small(train__batch_size=2))
    with pytest.raises(ConfigError, match="differ from those that"):
        train("stargan", table_dir, out, overrides=small(train__steps=6))
    kept = out / "checkpoints" / "step_00000004.pt"
    held = checkpoint.read(kept, print)
    held["networks"].popitem()  # As a version would write it whose networks had a layer less.
    checkpoint.write(kept, held)
    with pytest.raises(ConfigError, match="begun by a version with other networks: start another run with --init"):
        train("stargan", shapes_dir, out, overrides=small(train__steps=6))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("do not touch")
    with pytest.raises(ConfigError, match="is not a run"):
        train("stargan", shapes_dir, tmp_path / "other", overrides=small())


def test_a_run_finds_its_data_from_anywhere(shapes_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(shapes_dir.parent)
    train("stargan", "shapes", tmp_path / "run", overrides=small(train__steps=1))
    monkeypatch.chdir(tmp_path)
    assert Settings.of_run(Path("run")).data.sources == (str(shapes_dir),)
    assert "pictures of" in find_samples(Path("run"), load_model("run/model.safetensors").picture, make=False).origin
    assert train("stargan", shapes_dir, "run", overrides=small(train__steps=2)).step == 2


def test_a_start_that_reached_no_checkpoint_does_not_block_another(shapes_dir, tmp_path):
    out = tmp_path / "run"
    train("stargan", shapes_dir, out, overrides=small(train__steps=2))
    shutil.rmtree(out / "checkpoints")
    (out / "model.safetensors").unlink()  # As a kill, or memory that ran out, leaves it.
    (out / "previews" / "step_00000900.png").write_bytes(b"of the other settings")
    train("stargan", shapes_dir, out, overrides=small(train__steps=2, train__batch_size=2))
    assert json.loads((out / "config.json").read_text())["train"]["batch_size"] == 2
    assert not (out / "previews" / "step_00000900.png").exists() and read_log(out / "log.jsonl")[-1]["images"] == 4


# -- stopping ----------------------------------------------------------------------------------------------------------


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, "the run ended before it was interrupted"
        time.sleep(0.05)


LONG = small(train__steps=100_000, train__checkpoint_every=5, train__log_every=5)


def test_sigterm_saves_and_exits(shapes_dir, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(command(shapes_dir, out, LONG), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: checkpoint.find(out / "checkpoints"), process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert f"saved at step {state(out)['step']}" in said
    assert load_model(out / "model.safetensors").info["step"] == state(out)["step"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals as on Unix here")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_terminal_that_closes_saves_and_ends_the_run(shapes_dir, tmp_path, workers):
    """All processes get SIGHUP, and whatever is printed from then on fails."""
    out, (master, slave) = tmp_path / "run", os.openpty()
    words = command(shapes_dir, out, LONG | {"data.workers": workers})
    process = subprocess.Popen(words, preexec_fn=lambda: os.login_tty(slave), pass_fds=[slave])
    os.close(slave)

    def shown_and_saved() -> bool:
        while select.select([master], [], [], 0)[0]:  # A terminal that nobody reads would stop the run.
            os.read(master, 2**16)
        return bool(checkpoint.find(out / "checkpoints"))

    wait_for(shown_and_saved, process)
    os.close(master)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    step = state(out)["step"]
    assert step == load_model(out / "model.safetensors").info["step"] == read_log(out / "log.jsonl")[-1]["step"]


def test_nohup_keeps_a_run_from_hanging_up(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(lambda number: pytest.fail("SIGHUP was to be ignored")):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_what_it_did_before():
    got = []
    before = signal.signal(signal.SIGTERM, lambda *_: got.append("earlier"))
    try:
        with stop_signals(got.append):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        assert got == [signal.SIGTERM, "earlier", "earlier"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_kill_at_any_moment_leaves_a_run_that_resumes(shapes_dir, tmp_path):
    """Killed three times while it saves every fifth step: what is on the disk is always whole."""
    out = tmp_path / "run"
    for delay in (0.0, 0.13, 0.31):
        seen = [p.name for p in checkpoint.find(out / "checkpoints")]
        process = subprocess.Popen(command(shapes_dir, out, LONG), stdout=subprocess.DEVNULL)
        wait_for(lambda seen=seen: [p.name for p in checkpoint.find(out / "checkpoints")] != seen, process)
        time.sleep(delay)
        process.kill()
        process.wait()
        found = checkpoint.find(out / "checkpoints")
        for path in found:
            torch.load(path, weights_only=True)
        if (out / "model.safetensors").exists():  # The very first kill may come before it.
            load_model(out / "model.safetensors")
        logged = read_log(out / "log.jsonl")
        assert not logged or logged[-1]["step"] - int(found[-1].stem[5:]) <= 5


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "step_00000001.pt"
    checkpoint.write(path, {"step": 1})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left.*earlier checkpoints are untouched; free some space"):
        checkpoint.write(path, {"step": 2})
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "open", lambda *_: Full(), raising=False)
    with pytest.raises(CheckpointError, match="a part of it; earlier checkpoints are untouched; free some space"):
        checkpoint.write(path, {"step": torch.zeros(10**5)})
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


class Full(io.BytesIO):
    """A file on a disk that takes some of what is written, as PyTorch meets it."""

    def write(self, content):
        if self.tell() > 1000:
            raise OSError(28, "No space left on device")
        return super().write(content)


# -- several processes -------------------------------------------------------------------------------------------------


def test_every_process_needs_a_picture(shapes_dir, tmp_path, monkeypatch):
    """Else those without one would send no gradients, and the others wait for them for ever."""
    settings = Settings.resolve("stargan", [str(shapes_dir)], None, small(train__batch_size=2))
    monkeypatch.setattr(Processes, "told", lambda self, value: value)  # The others are not there.
    with pytest.raises(ConfigError, match="batches of 2 are divided among 3 processes: give each a picture"):
        start(settings, tmp_path / "run", None, Machine.choose("cpu"), Processes(rank=0, world=3))


def test_two_processes_equal_one_with_the_same_global_batch(table_dir, tmp_path):
    """Labels are permuted over the whole batch and gradients are summed, so the division does not show.

    In float64: sums are taken in another order, and Adam magnifies what rounding does to gradients near zero.
    """
    settings = small(train__steps=4, train__decay_steps=0, train__log_every=1, train__batch_size=6, train__precision="float64")
    train("stargan", table_dir, tmp_path / "one", overrides=settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = dict(os.environ, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    ranks = [
        subprocess.Popen(command(table_dir, tmp_path / "two", settings), env=environment | {"RANK": r, "LOCAL_RANK": r})
        for r in ("0", "1")
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]
    one, two = read_log(tmp_path / "one" / "log.jsonl"), read_log(tmp_path / "two" / "log.jsonl")
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert a["terms"].keys() == b["terms"].keys() and len(a["terms"]) >= 4
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-9, abs=1e-9)
    moments = [flat(state(tmp_path / run)["optimizers"]["adam"]) for run in ("one", "two")]
    assert moments[0].keys() == moments[1].keys() and len(moments[0]) > 30
    for key, value in moments[0].items():
        torch.testing.assert_close(value, moments[1][key], rtol=0, atol=1e-8 * float(value.abs().max()))


@pytest.mark.parametrize("name", ["stargan", "stargan_v2"])
def test_a_run_in_float64_is_so_throughout_and_its_model_is_as_any_other(name, shapes_dir, tmp_path):
    settings = {"recipe.capacity": 128, "recipe.max_width": 8, "recipe.mapping_width": 8} if name == "stargan_v2" else small()
    settings |= {"data.size": 32, "data.workers": 0, "train.batch_size": 4, "train.precision": "float64", "train.ema_kimg": 1}
    train(name, shapes_dir, tmp_path / "run", overrides=settings | {"train.steps": 1})  # With previews, of styles too.
    kept = {key: t for key, t in flat(state(tmp_path / "run")).items() if t.ndim}
    assert len(kept) > 30 and {t.dtype for t in kept.values()} == {torch.float64}
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert {p.dtype for p in model.recipe.parameters()} == {torch.float32}
    train(name, shapes_dir, tmp_path / "run", overrides=settings | {"train.steps": 2, "train.precision": "float32"})
    assert next(iter(state(tmp_path / "run")["networks"].values())).dtype == torch.float32


# -- guard -------------------------------------------------------------------------------------------------------------


def test_a_non_finite_step_is_skipped_and_counted():
    recipe = tiny("stargan", SPACES["table"])
    trainer = trainer_of(recipe)
    update, batch = recipe.updates[0], batch_of(recipe)
    bad = batch.x.clone()
    bad[0, 0, 0, 0] = float("nan")
    before = {k: v.clone() for k, v in recipe.state_dict().items()}
    trainer.apply(update, batch.extend(x=bad), COUNT, torch.zeros(()))
    assert all(torch.equal(v, before[k]) for k, v in recipe.state_dict().items())
    assert trainer.optimizers.skipped.item() == 1 and trainer.optimizers.skipped_in_a_row.item() == 1
    trainer.apply(update, batch, COUNT, torch.zeros(()))
    assert not torch.equal(recipe.discriminator.conv1.weight, before["discriminator.conv1.weight"])
    assert trainer.optimizers.skipped.item() == 1 and trainer.optimizers.skipped_in_a_row.item() == 0


def test_many_non_finite_steps_in_a_row_stop_the_run(shapes_dir, tmp_path):
    settings = small(recipe__class_weight=1e38, recipe__discriminator_lr=1e30, train__steps=60, train__max_skipped=3)
    with pytest.raises(TrainingError, match="updates in a row had values that are not finite.*Last good checkpoint"):
        train("stargan", shapes_dir, tmp_path / "run", overrides=settings)


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_the_rate_is_constant_then_falls_linearly_to_zero():
    assert rate_factor(0, 200_000, 100_000) == 1.0
    assert rate_factor(100_000, 200_000, 100_000) == 1.0
    assert rate_factor(150_000, 200_000, 100_000) == 0.5
    assert rate_factor(199_999, 200_000, 100_000) == pytest.approx(1e-5)
    assert rate_factor(199_999, 200_000, 0) == 1.0


def test_lengths_in_epochs_become_steps():
    config = in_steps(TrainConfig(epochs=2.5, decay_epochs=1), steps_per_epoch=40)
    assert (config.steps, config.decay_steps) == (100, 40)
    assert in_steps(TrainConfig(steps=50), 40).decay_steps == 50


def test_the_generator_steps_after_the_fifth_discriminator_step(shapes_dir, tmp_path):
    train("stargan", shapes_dir, tmp_path / "run", overrides=small(recipe__critic_steps=5, train__log_every=1, train__steps=10))
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert [line["step"] for line in lines if "generator/fake" in line["terms"]] == [5, 10]
    assert lines[-1]["lr"]["generator"] == pytest.approx(1e-4 / 4)  # The last of four decaying steps.


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["stargan", "fixed_point"])
def test_pictures_need_not_be_square(name, precision, shapes_dir, tmp_path):
    """The class head's kernel is as high and as wide as what the halvings leave."""
    train(name, shapes_dir, tmp_path / "run", overrides=small(data__size="16x24", train__precision=precision, train__steps=2))
    assert state(tmp_path / "run")["step"] == 2


def test_the_average_has_the_stated_half_life():
    assert decay(images=10**9, batch=1000, half_life=10, ramp=0) ** 10 == pytest.approx(0.5)
    assert decay(images=1000, batch=10, half_life=10, ramp=0.05) == 0.5 ** (10 / 50)  # Early: a share of what was seen.
    recipe = tiny("stargan", SPACES["table"])
    average = Average(recipe, half_life=0.016, ramp=0)
    start = recipe.generator.main[0].weight.detach().clone()
    with torch.no_grad():
        recipe.generator.main[0].weight.add_(1.0)
    average.update(images=16, batch=16)  # Exactly one half-life.
    torch.testing.assert_close(average.weights["generator.main.0.weight"], start + 0.5)
    with average.applied():
        torch.testing.assert_close(recipe.generator.main[0].weight.detach(), start + 0.5)
    torch.testing.assert_close(recipe.generator.main[0].weight.detach(), start + 1.0)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_run_folder_holds_what_it_should(shapes_dir, tmp_path):
    out = tmp_path / "run"
    train("stargan", shapes_dir, out, overrides=small(train__preview_every=4, train__checkpoint_every=2, train__keep=2))
    assert json.loads((out / "config.json").read_text())["train"]["steps"] == 8
    assert [p.name for p in checkpoint.find(out / "checkpoints")] == ["step_00000006.pt", "step_00000008.pt"]
    assert {p.name for p in (out / "previews").iterdir()} == {
        "step_00000000.png",
        "step_00000004.png",
        "step_00000008.png",
        "targets.json",
    }
    assert json.loads((out / "previews" / "targets.json").read_text()) == ["source", "blue", "green", "red"]
    line = read_log(out / "log.jsonl")[-1]
    assert line["images"] == 32 and line["skipped"] == 0 and {"waiting", "seconds", "images_per_second"} <= line.keys()


# -- fine-tuning -------------------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_models_weights(shapes_dir, tmp_path):
    train("stargan", shapes_dir, tmp_path / "first", overrides=small())
    settings = small(train__steps=1, recipe__generator_lr=0, recipe__discriminator_lr=0)
    train("stargan", shapes_dir, tmp_path / "second", init=tmp_path / "first", overrides=settings)
    first, second = (load_model(tmp_path / run / "model.safetensors").recipe.state_dict() for run in ("first", "second"))
    assert len(first) > 10 and all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_keeps_where_its_weights_come_from_and_their_licence(shapes_dir, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"

    def info(run: Path) -> tuple:
        return tuple(load_model(run / "model.safetensors").info.get(key) for key in ("step", "created_from", "licence"))

    train("stargan", shapes_dir, first, overrides=small(train__steps=1))
    assert info(first) == (1, None, OWN_LICENCE)
    train("stargan", shapes_dir, first, overrides=small(train__steps=1, train__licence="CC BY 4.0"))  # It was finished.
    assert info(first) == (1, None, "CC BY 4.0")
    train("stargan", shapes_dir, second, init=first / "model.safetensors", overrides=small(train__steps=1))
    assert info(second) == (1, ["first"], "CC BY 4.0")
    train("stargan", shapes_dir, second, init=str(first), overrides=small(train__steps=2))  # The same command resumes.
    train("stargan", shapes_dir, second, overrides=small(train__steps=3))
    assert info(second) == (3, ["first"], "CC BY 4.0")
    with pytest.raises(ConfigError, match="--init: first -> third"):
        train("stargan", shapes_dir, second, init=tmp_path / "third", overrides=small(train__steps=4))
    with pytest.raises(ConfigError, match="--init: fresh weights -> second"):
        train("stargan", shapes_dir, first, init=second, overrides=small(train__steps=1))
    with pytest.raises(ConfigError, match="the run starts from weights under CC BY 4.0"):
        train("stargan", shapes_dir, second, overrides=small(train__steps=4, train__licence="MIT"))


def test_fine_tuning_onto_more_labels_moves_weights_by_label_name(tmp_path, shapes_dir):
    train("stargan", shapes_dir, tmp_path / "run", overrides=small())
    model = load_model(tmp_path / "run" / "model.safetensors")
    wider = LabelSpace([LabelGroup("shapes", ("amber", "blue", "red", "green"), "one_of"), SPACES["table"].groups[0]])
    recipe = tiny("stargan", wider)
    fresh = recipe.generator.main[0].weight.detach().clone()
    notes = adopt(recipe, model, "stargan")
    old, new = model.recipe.state_dict(), recipe.state_dict()
    inputs_old, inputs_new = old["generator.main.0.weight"], new["generator.main.0.weight"]
    assert torch.equal(inputs_new[:, :3], inputs_old[:, :3])  # The picture's channels.
    for label in ("blue", "red", "green"):
        i, j = model.space.index(label), wider.index(label)
        assert torch.equal(inputs_new[:, 3 + j], inputs_old[:, 3 + i])
        assert torch.equal(new["discriminator.conv2.weight"][j], old["discriminator.conv2.weight"][i])
    assert torch.equal(inputs_new[:, 3], fresh[:, 3])  # amber is new.
    assert torch.equal(new["generator.main.3.weight"], old["generator.main.3.weight"])
    assert "amber" in notes[0]


def test_fine_tuning_from_another_width_is_explained(shapes_dir, tmp_path):
    train("stargan", shapes_dir, tmp_path / "run", overrides=small(train__steps=1))
    with pytest.raises(ModelError, match="set --recipe.conv_dim 4, as the model has"):
        train("stargan", shapes_dir, tmp_path / "wide", init=tmp_path / "run", overrides=small(recipe__conv_dim=8))
