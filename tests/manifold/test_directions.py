"""Directions of codes, sums of codes, and the ways between them, in tensors and on the command line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.cli import main
from asterism.config import ConfigError
from asterism.evaluation.directions import from_samples
from asterism.inference.decoding import keep_directions, read_along
from asterism.labels import LabelSpace
from asterism.manifold.arithmetic import combine, read_sum
from asterism.manifold.code_files import Codes, read_codes, write_codes
from asterism.manifold.directions import of_label, principal, principal_of_pictures
from tests.helpers.generating import save_dcgan


def test_the_direction_of_a_label_is_the_difference_of_the_mean_codes() -> None:
    rng = torch.Generator().manual_seed(0)
    codes, has = torch.randn(50, 4, generator=rng), (torch.rand(50, generator=rng) > 0.7).float()
    known = (torch.rand(50, generator=rng) > 0.2).float()
    on, off = codes[(has > 0) & (known > 0)], codes[(has == 0) & (known > 0)]
    torch.testing.assert_close(of_label(codes, has, known, "Smiling"), on.mean(0) - off.mean(0))
    # Of a number it is how codes change with it.
    torch.testing.assert_close(of_label(codes * 0 + 3 * has[:, None] / 2, has / 2, known, "Age"), torch.full((4,), 3.0))
    with pytest.raises(ConfigError, match="the direction Smiling needs pictures with and without it; all of these 50 have"):
        of_label(codes, torch.ones(50), torch.ones(50), "Smiling")
    with pytest.raises(ConfigError, match="of none it is known"):
        of_label(codes, has, torch.zeros(50), "Smiling")


def test_principal_directions_are_those_of_the_covariance() -> None:
    rng = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(3, 3, generator=rng))[0]
    codes = torch.randn(4000, 3, generator=rng) * torch.tensor([5.0, 2.0, 0.1]) @ axes.T + 7
    found, shares = principal(codes, 2)
    values, vectors = torch.linalg.eigh(torch.cov(codes.T.double()))
    for k in range(2):
        torch.testing.assert_close(found[k].double().norm().square(), values[2 - k], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            (found[k].double() @ vectors[:, 2 - k]).abs(), found[k].double().norm(), rtol=1e-5, atol=1e-5
        )
    torch.testing.assert_close(shares.double(), values.flip(0)[:2] / values.sum(), rtol=1e-4, atol=1e-6)
    # Drawn codes are alike in all directions; the one that pictures show is found through them.
    drawn = torch.randn(4000, 3, generator=rng)
    seen = (drawn @ axes[:, :1]) @ torch.randn(1, 20, generator=rng) + 0.01 * torch.randn(4000, 20, generator=rng)
    (direction,), (share,) = principal_of_pictures(drawn, seen, 1)
    assert abs(float(direction @ axes[:, 0])) > 0.95 and share > 0.9
    with pytest.raises(ConfigError, match="the number of principal directions is 4; these 4000 codes have 1 to 3"):
        principal(drawn, 4)


def test_sums_of_codes_in_words() -> None:
    assert read_sum("a - b + 0.5*c") == [(1.0, "a"), (-1.0, "b"), (0.5, "c")]
    assert read_sum("- photo-1 + 2 * my cat") == [(-1.0, "photo-1"), (2.0, "my cat")]
    held = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 1.0])}
    torch.testing.assert_close(combine("a - 3*b", held.__getitem__), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(combine("a + b", held.__getitem__, shorten=True), torch.tensor([1.0, 3.0]) / 2**0.5)
    torch.testing.assert_close(combine("3*a", held.__getitem__, shorten=True), torch.tensor([3.0, 6.0]))  # As was said.
    for words, said in (
        ("a - ", "has the term"),
        ("", "has the term ''"),
        ("2*", "has the term '2\\*'"),
        ("a * b", "has the term"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_sum(words)
    assert read_along(["Smiling=2", "pc1=-0.5"]) == {"Smiling": 2.0, "pc1": -0.5}
    for word in ("Smiling", "=2", "Smiling=much"):
        with pytest.raises(ConfigError, match="expected a direction and how far, such as Smiling=2"):
            read_along([word])


def test_files_of_codes(tmp_path: Path) -> None:
    path = tmp_path / "codes.safetensors"
    codes = Codes("latent", "dcgan", {"a": torch.tensor([1.0, 2.0])}, {"a": "said"})
    write_codes(path, codes)
    back = read_codes(path)
    assert (back.kind, back.recipe, dict(back.facts)) == ("latent", "dcgan", {"a": "said"})
    assert torch.equal(back.by_name["a"], codes.by_name["a"])
    assert set(codes.merged(Codes("latent", "dcgan", {"b": torch.zeros(2)})).by_name) == {"a", "b"}
    with pytest.raises(ConfigError, match=r"holds latent codes of dcgan, \[2\]; this model has latent codes of wgan, \[2\]"):
        back.check(path, "latent", "wgan", 2)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ConfigError, match="cannot read"):
        read_codes(path)
    with pytest.raises(ConfigError, match="there is no file of codes"):
        read_codes(tmp_path / "nothing")


class Warmth(torch.nn.Module):
    """A classifier of one label: whether a picture is more red than blue, beyond what others are."""

    space = LabelSpace.from_text("any:binary:Warm")

    def __init__(self, others: torch.Tensor) -> None:
        super().__init__()
        self.middle = (others[:, :1] - others[:, 2:]).mean((2, 3)).median()

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [N, 1]."""
        return (x[:, :1] - x[:, 2:]).mean((2, 3)) - self.middle


def test_pictures_go_along_a_direction_that_samples_showed(tmp_path: Path) -> None:
    model = asterism.load(save_dcgan(tmp_path), device="cpu", precision="float32")
    others = model.recipe.generate(model.latents(64), torch.zeros(64, 0))
    found, left = from_samples(model, Warmth(others), count=400, components=2)  # type: ignore[arg-type]
    assert list(found.by_name) == ["Warm", "pc1", "pc2"] and not left
    keep_directions(model, found)
    z = model.latents(8)
    made = [np.stack([np.asarray(p) for p in model.generate(code=z, along={"Warm": go})]).astype(float) for go in (-1, 0, 1)]
    cold, same, warm = (float((x[..., 0] - x[..., 2]).mean()) for x in made)
    assert cold < same < warm
    same, (first,) = model.generate(code="seed3"), model.generate(seeds=[3])
    assert np.array_equal(np.asarray(same[0]), np.asarray(first))
    middle = model.generate(seeds=(1, 2), truncation=0.0)
    assert np.array_equal(np.asarray(middle[0]), np.asarray(middle[1]))
    for arguments, words in (
        ({"along": {"Warm": 900}}, "a code is .* long; this model's latents are about 2.8 long and at most 6.8"),
        ({"along": {"Warn": 1}}, "no direction 'Warn' is kept beside this model: did you mean Warm"),
        ({"truncation": 2.0}, "truncation is 2.0; expected between 0 and 1"),
        ({"code": "seed1 - me"}, "no code is saved as 'me'"),
        ({"code": torch.zeros(1, 3)}, r"codes are \[1, 3\]; this model takes \[N, 8\]"),
        ({"code": "seed1", "seeds": (1,)}, "give seeds, or a code, not both"),
    ):
        with pytest.raises(ConfigError, match=words):
            model.generate(**arguments)  # type: ignore[arg-type]


def test_project_directions_sums_and_ways_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, pictures, out = save_dcgan(tmp_path / "run"), tmp_path / "in", tmp_path / "out"
    model = asterism.load(run, device="cpu", precision="float32")
    pictures.mkdir()
    for name, picture in zip(("me", "you"), model.generate(2), strict=True):
        picture.save(pictures / f"{name}.png")
    (pictures / "broken.png").write_bytes(b"nothing")
    chess = np.indices((16, 16)).sum(0) % 2 * 255
    Image.fromarray(np.repeat(chess[:, :, None], 3, 2).astype(np.uint8)).save(pictures / "chess.png")
    assert main(["project", str(run), str(pictures), "--out", str(out), "--keep", "--device", "cpu", "--starts", "3"]) == 0
    said = capsys.readouterr().out
    assert (
        "chess: the model cannot make it: the best code is hardly nearer than one plain colour" in said and "left out" in said
    )
    assert set(read_codes(run / "codes.safetensors").by_name) == {"me", "you", "chess"}
    for name in ("me", "you"):
        apart = np.asarray(Image.open(out / f"{name}.png")).astype(int) - np.asarray(Image.open(pictures / f"{name}.png"))
        assert np.abs(apart).mean() < 3
    assert Image.open(out / "sheet.png").size == (2 * 24, 3 * 24)
    assert main(["directions", str(run), "--samples", "100", "--components", "1", "--device", "cpu"]) == 0
    assert "of the variance of 100 samples" in capsys.readouterr().out
    made = tmp_path / "made"
    words = [
        "generate",
        str(run),
        "--code",
        "me - you + seed1",
        "--code",
        "0.5*you",
        "--along",
        "pc1=0.2",
        "--truncation",
        "0.8",
        "--device",
        "cpu",
    ]
    assert main([*words, "--out", str(made), "--way", str(tmp_path / "way.gif"), "--steps", "3"]) == 0
    assert "spherical" in capsys.readouterr().out
    assert sorted(p.name for p in made.iterdir()) == ["0.5_you.png", "me_-_you_+_seed1.png"]
    with Image.open(tmp_path / "way.gif") as film:
        assert film.n_frames == 4  # type: ignore[attr-defined]
    assert main(["generate", str(run), "--code", "yu", "--out", str(made), "--device", "cpu"]) == 1
    assert "no code is saved as 'yu': did you mean you" in capsys.readouterr().err
    assert main(["generate", str(run), "--seeds", "1,2", "--way", str(tmp_path / "way.gif"), "--device", "cpu"]) == 1
    assert "would be replaced" in capsys.readouterr().err


def test_directions_of_the_runs_own_labelled_pictures(
    shapes_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "noise"
    small = ["--recipe.latent_dim", "8", "--recipe.conv_dim", "4", "--recipe.discriminator_conv_dim", "4", "--data.size", "16"]
    short = ["--data.workers", "0", "--train.steps", "1", "--train.batch_size", "8", "--train.evaluate_every", "0"]
    exact = ["--device", "cpu", "--train.precision", "float32"]
    assert main(["train", "dcgan", "--data", str(shapes_dir), "--out", str(run), *small, *short, *exact]) == 0
    assert main(["directions", str(run), "--pictures", "9", "--components", "1", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert set(read_codes(run / "directions.safetensors").by_name) == {"blue", "green", "red", "pc1"}
    assert "of 9 pictures have it" in said and "of the variance of 9 codes" in said
    assert main(["directions", str(run), "--device", "cpu"]) == 1
    assert "no direction was found: give a classifier" in capsys.readouterr().err


def test_numbers_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    model, far = asterism.load(save_dcgan(tmp_path), device="cpu"), 2**70
    picture = np.zeros((16, 16, 3), np.uint8)
    for call, said in (
        (lambda: model.generate(code="seed9999999999999999999"), "a seed is 9999999999999999999; expected at most"),
        (lambda: model.project(picture, seed=far, steps=0), "a seed is"),
        (lambda: model.project(picture, feature_weight=math.nan), "the weight of features is nan"),
        (lambda: model.edit("seed1", warp=[(1, 1, 2, 2)], seed=far), "a seed is"),
        (lambda: model.edit("seed1", warp=[(1, 1, 2, 2)], stay=math.nan), "a weight of 0; given"),
        (lambda: from_samples(model, None, count=-1, components=1), "the number of samples is -1"),
    ):
        with pytest.raises(ConfigError, match=said):
            call()
