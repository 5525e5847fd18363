"""InfoGAN: the paper's terms against their literal formulas, and codes in a latent, by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from asterism.cli import main
from asterism.config import ConfigError
from asterism.evaluation.codes import told_by_codes
from asterism.inference.codes import written
from asterism.inference.translator import Translator
from asterism.labels import LabelSpace
from asterism.networks.codes import Code
from asterism.recipes.infogan import codes_of
from asterism.recipes.model import Model, save_model
from tests.helpers.recipes import COUNT, SPACES, batch_of, tables, tiny

CODES = "tilt,digit=3,shade,side=2"
SMALL = {"codes": CODES, "noise_dim": 5, "recogniser_dim": 8}


def model(**settings: str) -> Translator:
    """A translator of random weights that are large enough to make pictures that differ."""
    recipe = tiny("infogan", SPACES["folders"], **SMALL | settings).eval()
    with torch.no_grad():
        for parameter in recipe.generator.parameters():
            parameter.mul_(8 if parameter.ndim == 4 else 1)
    return Translator(Model(recipe, "infogan", recipe.space, recipe.picture, recipe.config, {}), "cpu", "float32")


def pixels(picture: object) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_terms_are_the_literal_formulas() -> None:
    """Of codes in any order, by the weights and both updates of the paper; Q is a softmax, or a normal distribution."""
    recipe = tiny("infogan", SPACES["folders"], **SMALL).double()
    batch = batch_of(recipe)
    made = tables(recipe, batch)
    x_fake = recipe.generator(batch.z)
    fake, seen = recipe.discriminator(x_fake)
    q = recipe.recogniser(seen)  # Of each code what is read, in order: 1, 3, 1 and 2 numbers; then two variances.
    z = batch.z[:, 5:]
    category = -q[:, 1:4].log_softmax(1)[z[:, 1:4] == 1] - q[:, 5:7].log_softmax(1)[z[:, 5:7] == 1]
    number = torch.zeros(COUNT).double()
    for read, spread, wanted in ((q[:, 0], q[:, 7], z[:, 0]), (q[:, 4], q[:, 8], z[:, 4])):
        density = torch.exp(-((wanted - read) ** 2) / (2 * spread.exp())) / torch.sqrt(2 * math.pi * spread.exp())
        number = number - density.log()
    one, zero = torch.ones(COUNT).double(), torch.zeros(COUNT).double()
    bce = F.binary_cross_entropy_with_logits
    information = {
        "category": (1.0, category),
        "number": (0.1, number),
        "information": (0.0, math.log(3) + math.log(2) + 2 * math.log(2) - category - number),
    }
    expected = {
        "discriminator": {
            "real": (1.0, bce(recipe.discriminator(batch.x)[0], one, reduction="none")),
            "fake": (1.0, bce(fake, zero, reduction="none")),
            **information,
        },
        "generator": {"adversarial": (1.0, bce(fake, one, reduction="none")), **information},
    }
    for table, terms in expected.items():
        assert made[table].keys() == terms.keys()
        for term, (weight, value) in terms.items():
            assert made[table][term][0] == weight
            torch.testing.assert_close(made[table][term][1], value, rtol=1e-4, atol=1e-5)  # 1e-6 stands beside a variance.


def test_codes_of_normal_latents_are_uniform() -> None:
    codes = codes_of("kind=4, tilt", 2)
    assert codes == (Code("kind", 2, 4), Code("tilt", 6))
    z = torch.randn(20_000, 7, generator=torch.Generator().manual_seed(0))
    kind, tilt = (code.read(z) for code in codes)
    assert (kind.sum(1) == 1).all() and tilt.shape == (20_000, 1)
    # Counts have a standard deviation of 61, the quarters of a uniform number the same: six of them are far out.
    assert all(abs(int(count) - 5000) < 370 for count in kind.sum(0))
    assert all(abs(int(count) - 5000) < 370 for count in torch.histc(tilt, 4, -1, 1))


def test_a_code_is_written_where_it_is_read_and_nothing_else_changes() -> None:
    codes = codes_of(CODES, 5)
    z = torch.randn(50, codes[-1].end, generator=torch.Generator().manual_seed(0))
    for code in codes:
        for value in range(code.values) if code.values else (-1, -0.3, 0, 1):
            changed = written(z, [(code, value)])
            expected = F.one_hot(torch.tensor(value), code.values).float() if code.values else torch.tensor([float(value)])
            torch.testing.assert_close(code.read(changed), expected.expand(50, -1), rtol=0, atol=1e-6)
            assert all(torch.equal(other.read(changed), other.read(z)) for other in codes if other != code)
            assert torch.equal(changed[:, :5], z[:, :5])
            if code.values:  # The numbers themselves are only exchanged.
                assert torch.equal(changed.sort(1).values, z.sort(1).values)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("digit=1", "'digit=1': expected a category with its number of values, at least 2"),
        ("a b", "'a b': expected"),
        ("digit=10,tilt,digit", "names digit twice"),
        (" ,", "names no code"),
    ],
)
def test_codes_that_cannot_be_are_refused(words: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny("infogan", SPACES["folders"], codes=words)


def test_pictures_with_chosen_codes() -> None:
    """A chosen code is the only thing that changes, whichever way it is said."""
    made = model()
    (plain,) = made.generate(seeds=[3])
    by_name = [made.generate(seeds=[3], codes={"digit": value})[0] for value in range(3)]
    assert sum(np.array_equal(plain, picture) for picture in by_name) == 1, "the seed has one of the three values itself"
    assert all(np.abs(pixels(a) - pixels(b)).max() > 3 for a, b in zip(by_name, by_name[1:], strict=False))
    both = made.generate(seeds=[3, 4], codes="digit=1, tilt=-0.5")
    assert np.array_equal(both[0], made.generate(seeds=[3], codes={"tilt": -0.5, "digit": 1})[0])
    for codes, said in (
        ({"digit": 3}, "the code digit is 3; expected a whole number from 0 to 2"),
        ("digit=1.5", "the code digit is 1.5; expected a whole number from 0 to 2"),
        ("tilt=1.01", "the code tilt is 1.01; expected a number from -1 to 1"),
        ("tilt=nan", "the code tilt is nan; expected"),
        ("tilt", "the code tilt is nothing; expected"),
        ("titl=0", "no code 'titl': did you mean tilt"),
    ):
        with pytest.raises(ConfigError, match=said):
            made.generate(1, codes=codes)


def test_a_traversal_is_a_row_for_each_seed_and_a_column_for_each_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, run, sheet = model(), tmp_path / "run", tmp_path / "sheet.png"
    recipe = made.recipe
    run.mkdir()
    save_model(run / "model.safetensors", recipe, "infogan", recipe.state_dict(), info={"step": 1})
    command = ["generate", str(run), "--seeds", "5,2", "--device", "cpu", "--precision", "float32", "--overwrite"]
    assert main([*command, "--traverse", "digit", "--sheet", str(sheet), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"seed{s}__digit={v}.png" for s in (2, 5) for v in range(3)}
    drawn = pixels(Image.open(sheet))
    assert drawn.shape == (2 * 40, 3 * 40, 3)  # 32 pixels and a margin of 4 on each side.
    for row, seed in enumerate((5, 2)):
        for column in range(3):
            (expected,) = made.generate(seeds=[seed], codes={"digit": column})
            cell = drawn[40 * row + 4 : 40 * row + 36, 40 * column + 4 : 40 * column + 36]
            assert np.abs(cell - pixels(expected)).max() <= 1
    assert main([*command, "--traverse", "tilt", "--code", "digit=0", "--code", "digit=1", "--sheet", str(sheet)]) == 0
    assert Image.open(sheet).size == (18 * 40, 2 * 40), "nine values for each of the two choices"
    assert main([*command, "--code", "digit=0", "--code", "digit=1", "--sheet", str(sheet)]) == 0
    assert Image.open(sheet).size == (2 * 40, 2 * 40), "a row for each choice, as for targets"
    assert main([*command, "--traverse", "tlt", "--sheet", str(sheet)]) == 1
    assert "no code 'tlt': did you mean tilt?" in capsys.readouterr().err
    assert main(["info", str(run)]) == 0
    assert "digit: a whole number from 0 to 2" in capsys.readouterr().out


def test_a_model_without_codes_says_so() -> None:
    recipe = tiny("dcgan", SPACES["folders"]).eval()
    without = Translator(Model(recipe, "dcgan", recipe.space, recipe.picture, recipe.config, {}), "cpu", "float32")
    with pytest.raises(ConfigError, match="this model of dcgan has no codes to choose: leave out digit"):
        without.generate(1, codes="digit=3")


class Held:
    """A set of pictures in memory: every one plain, of a colour that is its label."""

    def __init__(self, colours: torch.Tensor, size: int) -> None:
        self.labels = F.one_hot(colours, 3).float()
        self.known = torch.ones_like(self.labels)
        self.x = self.labels[:, :, None, None].expand(-1, -1, size, size) * 2 - 1

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, rows: range) -> torch.Tensor:
        return self.x[list(rows)]


def test_what_labels_codes_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser that reads the colour as `digit` and noise as the rest: `digit` tells the colour, the others do not."""
    made = model()
    colours = torch.arange(600) % 3
    held, rng = Held(colours, 32), torch.Generator().manual_seed(0)

    def recognise(x: torch.Tensor) -> torch.Tensor:
        before, after = torch.randn(len(x), 1, generator=rng), torch.randn(len(x), 3, generator=rng)
        return torch.cat([before, x.mean((2, 3)), after], 1)

    monkeypatch.setattr(made.recipe, "recognise", recognise)
    space = LabelSpace.from_text("discs:one_of:red,green,blue")
    table = told_by_codes(made.recipe, made.machine, [held], space, 64)
    assert (
        table is not None and table["rows"] == ["tilt", "digit", "shade", "side"] and table["columns"] == ["red, green, blue"]
    )
    tilt, digit, shade, side = (row[0] for row in table["values"])
    assert digit > 0.99 and max(tilt, shade, side) < 0.05
    held.labels[:] = held.labels[:1]
    assert told_by_codes(made.recipe, made.machine, [held], space, 64) is None, "no label varies"
    assert told_by_codes(tiny("dcgan", space), made.machine, [held], space, 64) is None, "no codes"
