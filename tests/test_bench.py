"""The benchmark's own sums: both sides agree, a difference is noticed, the arithmetic is the papers'. Nothing is timed."""

from __future__ import annotations

import argparse
import dataclasses
import json

import pytest
import torch
from PIL import Image

from asterism.config import ConfigError
from asterism.recipes import RECIPES, stargan
from asterism.recipes.settings import Settings
from asterism.runs.folder import read_run
from bench import agreement, clipping, gallery, gpu, memory, quality, rows, strength
from bench.agreement import Differences, DisagreementError, check, exceeded
from bench.arithmetic import needed
from bench.cases import Case
from bench.clock import Clock, alternate
from bench.published_step import PublishedStarGAN, PublishedStarGANv2

TINY = {
    "stargan": Case("stargan", 32, 2, {"conv_dim": 4, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 3}),
    "stargan_v2": Case("stargan_v2", 32, 2, {"capacity": 256, "max_width": 16, "mapping_width": 8}),
    "cyclegan": Case(
        "cyclegan", 32, 2, {"conv_dim": 4, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 2}
    ),
    "pix2pix": Case("pix2pix", 32, 2, {"conv_dim": 4, "discriminator_conv_dim": 4, "discriminator_layers": 2}),
    "pix2pixhd": Case(
        "pix2pixhd",
        16,
        2,
        {"conv_dim": 4, "num_downs": 2, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 2},
    ),
    "relgan": Case("relgan", 32, 2, {"conv_dim": 4, "num_blocks": 1, "discriminator_widths": (4, 8, 16)}),
    "ganimation": Case(  # Wide enough that the norm in its penalty, of small weights, is far above the root's epsilon.
        "ganimation", 32, 2, {"conv_dim": 4, "num_blocks": 1, "discriminator_conv_dim": 48, "discriminator_layers": 2}
    ),
}


@pytest.mark.parametrize("recipe", sorted(TINY))
def test_both_sides_compute_the_same(recipe):
    """To rounding, in float64; what is below that is the epsilon under the root of our penalty."""
    found = check(TINY[recipe], {"precision": "float64", "device": "cpu"})
    assert len(found) == {"stargan_v2": 4, "ganimation": 3}.get(recipe, 2)
    assert max(differences.worst() for differences in found.values()) <= 1e-9


def test_what_rounding_costs_the_published_step_is_measured_beside(monkeypatch):
    floor = Differences({"real": 0.01}, {"generator": 0.02})
    assert exceeded(Differences({"real": 0.019}, {"generator": 0.039}), floor, torch.bfloat16) == ""
    assert "loss real" in exceeded(Differences({"real": 0.021}, {"generator": 0.0}), floor, torch.bfloat16)
    assert "gradient of the generator" in exceeded(Differences({"real": 0.0}, {"generator": 0.041}), floor, torch.bfloat16)
    assert "more than 0.0001" in exceeded(Differences({"real": 0.001}, {"generator": 0.0}), floor, torch.float32)
    monkeypatch.setattr(agreement, "ROUNDING", 1e3)  # What it costs so small a network is chance: here only that it is asked.
    monkeypatch.setattr(agreement, "BFLOAT16_LOSS", 1.0)
    for precision in ("float32", "bfloat16"):
        assert len(check(TINY["stargan"], {"precision": precision, "device": "cpu"})) == 2


def test_a_wrong_penalty_is_noticed(monkeypatch):
    right = stargan.gradient_penalty
    monkeypatch.setattr(stargan, "gradient_penalty", lambda gradient: 1.01 * right(gradient))
    with pytest.raises(DisagreementError, match="discriminator: loss penalty differs by"):
        check(TINY["stargan"], {"precision": "float64", "device": "cpu"})


@pytest.mark.parametrize(("size", "gigaflops"), [(128, 1157), (256, 1524)])
def test_arithmetic_of_stargan_v2(size, gigaflops):
    """What is left of the published 2185 and 2914 GFLOP per picture when nothing is computed that the maths does not need."""
    meta = torch.device("meta")
    with meta:
        rates = dict.fromkeys(("generator", "mapping_network", "style_encoder", "discriminator"), 1e-4)
        shape = {"domains": 3, "style": 64, "latent": 16, "hidden": 512, "capacity": 2**14, "widest": 512}
        network = PublishedStarGANv2(None, size=size, **shape, rates=rates, device=meta)
        updates, iteration = needed(network, size)
    assert iteration / 1e9 == pytest.approx(gigaflops, rel=1e-3)
    assert sum(updates.values()) > iteration


def test_arithmetic_of_stargan():
    """G and D forward are 19.9 and 1.37 GFLOP at 128 px; a cycle of 16 pictures as published is 4.9 TFLOP."""
    meta = torch.device("meta")
    with meta:
        network = PublishedStarGAN(None, size=128, labels=5, width=64, blocks=6, critic_width=64, layers=6, device=meta)
        updates, cycle = needed(network, 128)
    assert updates["discriminator"] / 1e9 == pytest.approx(19.9 + 10 * 1.37, rel=0.02)
    assert updates["generator"] / 1e9 == pytest.approx(6 * 19.9 + 2 * 1.37, rel=0.02)
    assert 0.8 * 4.9e12 < 16 * cycle < 0.95 * 4.9e12


class TwoSeconds(Clock):
    """Whatever is done takes two seconds."""

    def seconds(self, work):
        work()
        return 2.0


@pytest.mark.parametrize("recipe", sorted(TINY))
def test_rows_of_training(recipe):
    cpu = torch.device("cpu")
    machine = rows.Machine(cpu, TwoSeconds(cpu), {torch.float32: 1e11})
    made = rows.training(TINY[recipe], rows.Way(" here", {"precision": "float32"}), machine, 0)
    assert len(made) == {"stargan": 3, "stargan_v2": 5, "relgan": 3}.get(recipe, 1), "of some, only the whole step compares"
    words = {"stargan": "StarGAN training cycle", "stargan_v2": "StarGAN v2 training iteration"}
    words |= {"cyclegan": "CycleGAN training step", "pix2pix": "pix2pix training step"}
    words |= {"pix2pixhd": "pix2pixHD training step"}
    words |= {"relgan": "RelGAN training step", "ganimation": "GANimation training cycle"}
    assert str(made[-1]).startswith(f"{words[recipe]} {'16x32' if recipe == 'pix2pixhd' else 32}px batch 2 here: ")
    for row in made:
        assert row.detail["seconds"] == 2 and row.ratio == row.detail["published_seconds"] / 2
        assert row.detail["share_of_ceiling"] == pytest.approx(row.detail["needed_flops"] / 2 / 1e11)


def test_row_of_translation():
    cpu = torch.device("cpu")
    row = rows.translation(TINY["stargan"], rows.Way("", {"precision": "float32"}), rows.Machine(cpu, TwoSeconds(cpu), {}), 0)
    assert row.name == "StarGAN translation 32px batch 2" and row.ratio == 1
    both = rows.Translation(TINY["stargan"], {"precision": "float64"}, cpu)
    both.reference.generator.double()
    theirs = both.reference.translate(both.x.double(), both.codes.double())
    torch.testing.assert_close(torch.stack(both.ours()), theirs, rtol=0, atol=1e-9)


def test_memory_is_what_lies_beyond_the_state():
    case = Case("stargan", 64, 16, {"conv_dim": 16, "num_blocks": 1, "discriminator_conv_dim": 4, "discriminator_layers": 3})
    small = memory.measure_apart("published", case, {"precision": "float32", "device": "cpu"})
    activations = 16 * 16 * 64 * 64 * 4  # One layer of the generator at full resolution.
    assert small["peak"] > 4 * activations
    assert 0 < small["state"] < activations


def test_works_take_turns():
    calls: list[str] = []
    clock = Clock(torch.device("cpu"))
    taken = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, {"a": 2}, 0, clock)
    assert calls == ["a", "a", "a", "b"] and taken.keys() == {"a", "b"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what it needs where there is no GPU")
def test_gpu_rows_say_what_they_need(monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench.gpu"])
    with pytest.raises(ConfigError, match="no CUDA device"):
        gpu.main()


def test_goals_name_rows_that_are_measured():
    names = {str(c).format(what) for c in gpu.TRAINING for what in ("peak memory", rows.CYCLE[c.recipe])}
    names |= {str(case).format(rows.CYCLE[case.recipe]) for case in gpu.TRAINED_ONLY}
    names.add(str(gpu.TRANSLATION).format("translation"))
    assert gpu.GOALS.keys() == names
    row = rows.Row("StarGAN training cycle 128px batch 16", 6.5, {"share_of_ceiling": 0.3})
    assert gpu.verdict(row).endswith("missed")


def test_quality_compares_means_over_seeds():
    """Single runs may differ by more than their means."""
    values = [{"accuracy": a, "ratio": r, "preserved": 0.9} for a, r in ((0.80, 0.50), (0.84, 0.54), (0.82, 0.52))]
    fine = quality.compare({"fast": values, "plain": values[::-1]})
    assert fine["passed"] and fine["means"]["fast"]["accuracy"] == pytest.approx(0.82)
    for key, by in (("accuracy", 0.021), ("ratio", 0.051)):
        worse = [v | {key: v[key] + by} for v in values]
        assert not quality.compare({"fast": values, "plain": worse})["passed"]


def test_quality_trains_both_paths_by_the_same_settings():
    plain = quality.settings(32, 600, seed=2) | quality.PLAIN
    resolved = Settings.resolve("stargan", ["data"], "small", plain)
    assert resolved.train.precision == "float32" and resolved.train.seed == 2 and resolved.data.size == (32, 32)
    assert quality.PATHS["fast"] == {}


def test_a_probability_rises_where_no_step_falls_by_more_than_the_slack():
    rising = torch.tensor([[0.1, 0.2, 0.9, 0.999], [0.1, 0.2, 0.18, 0.9], [0.5, 0.5, 0.499, 0.51], [0.9, 0.9, 0.9, 0.9]])
    assert strength.rises(rising).tolist() == [True, False, True, False]
    logits = torch.tensor([[0.0, 0.0, 2.0]])
    on = torch.tensor([False])
    assert float(strength.wanted_probability(logits, (0, 1), 0, on)) == pytest.approx(0.5)
    assert float(strength.wanted_probability(logits, (), 2, on)) == pytest.approx(1 - torch.tensor(2.0).sigmoid().item())


def test_gradients_of_a_critic_are_those_of_each_layers_output_and_weights_at_the_bound_are_counted():
    """Of a critic of full layers without bends they are products of its matrices."""
    a, b = torch.tensor([[0.01, -0.01, 0.01], [0.002, 0.0097, -0.0101]]), torch.tensor([[3.0, -4.0]])
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
    critic[1].weight.data.copy_(a), critic[2].weight.data.copy_(b)
    places, norms = clipping.gradient_norms(critic, torch.rand(5, 3, 1, 1))
    assert places == ["picture", "layer 1", "layer 2"]
    wanted = torch.stack([(b @ a).norm(), b.norm(), torch.ones(())])
    torch.testing.assert_close(norms, wanted[:, None].expand(3, 5))
    clipped = clipping.Critic("run", "wgan", 0.01, a.flatten(), places, norms)
    assert clipping.at_bound(clipped) == pytest.approx(5 / 6)
    free = dataclasses.replace(clipped, name="other", bound=0.0)
    assert "weights at the bound: 83.3%" in "\n".join(clipping.table(clipped)) and len(clipping.table(free)) == 5
    figure = clipping.draw([clipped, free])
    colours = {colour for _, colour in figure.getcolors(1 << 20)}
    assert set(clipping.COLOURS[:2]) <= colours and clipping.COLOURS[2] not in colours


def gallery_run(folder, **own):
    """A run folder as a training leaves it: its configuration, log, preview and model file."""
    config = {"name": "dcgan", "preset": "small", "recipe": {}, "data": {"sources": ["faces"]}, "train": {}} | own
    (folder / "previews").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.jsonl").write_text('{"step": 20, "images": 160, "terms": {}}\n')
    (folder / "previews" / "targets.json").write_text('["source", "Blond_Hair"]')
    Image.new("RGB", (2 * 34 - 2, 6 * 34 - 2), "navy").save(folder / "previews" / "step_00000020.png")


def test_the_gallery_states_budgets_and_what_is_missing(tmp_path, monkeypatch):
    """A sheet from a run: the top rows with titles; each call adds to the page, and a run of another recipe is refused."""
    picture = {"height": 32, "width": 32, "sound": None}
    monkeypatch.setattr(gallery, "read_run", lambda run: dataclasses.replace(read_run(run), model={"picture": picture}))
    for recipe in ("dcgan", "aster"):
        gallery_run(tmp_path / recipe, name=recipe)
        words = ["gallery", "--out", str(tmp_path), "--runs", f"{recipe}={tmp_path / recipe}"]
        monkeypatch.setattr("sys.argv", words)
        gallery.main()
    page = (tmp_path / "gallery.md").read_text()
    assert (
        page.index("## Aster") < page.index("## DCGAN")
        and page.count("32 x 32; 160 pictures seen in 20 steps; data: `faces`") == 2
    )
    missing = page.partition("## Still missing")[2]
    assert "`stargan`" in missing and "`dcgan`" not in missing and "`aster`" not in missing
    sheet = Image.open(tmp_path / "images" / "gallery" / "dcgan.jpg")
    assert sheet.width == 3 * 66 and sheet.height == 3 * 134 + 24, "four rows of six, enlarged three times, and titles"
    monkeypatch.setattr("sys.argv", [*words[:-1], f"stargan={tmp_path / 'dcgan'}"])
    with pytest.raises(SystemExit, match="was trained by dcgan, not by stargan"):
        gallery.main()
    assert set(gallery.rows()) == set(RECIPES)


def test_the_gallery_scales_a_recipes_own_lengths():
    args = argparse.Namespace(budget=1600, seed=0, size=64)
    preset = Settings.resolve("progan", ["."], "small")
    made = gallery.settings(gallery.rows()["progan"], args)
    share = made["train.steps"] / preset.train.steps
    assert made["train.steps"] == 1600 // preset.train.batch_size
    assert made["recipe.level_steps"] == tuple(round(share * steps) for steps in preset.recipe.level_steps)
    for recipe, system in gallery.rows().items():
        if recipe not in gallery.FROM_ELSEWHERE:
            Settings.resolve(recipe, ["."], "small", gallery.settings(system, args))
