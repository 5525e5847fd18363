"""Recipes from outside the package, a file's and an installed package's: trained, resumed, used, exported and served."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism import recipes
from asterism.cli import main
from asterism.config import ConfigError
from asterism.recipes.model import load_model
from asterism.storage.model_file import ModelError
from tests.helpers.model_files import rewrite

NETWORKS = """
from torch import nn

def generator(channels, labels, width):
    return nn.Sequential(
        nn.Conv2d(channels + labels, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.ReLU(),
        nn.Conv2d(width, channels, 3, padding=1), nn.Tanh(),
    )

def discriminator(channels, width):
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(width, width, 4, 2, 1), nn.LeakyReLU(0.01)
    )
"""

RECIPE = '''"""Relative GAN: a generator that is told what to change (no paper: a test's).

Shapes: x [N, C, H, W] in [-1, 1]; v [N, L] difference of labels.
"""

from dataclasses import dataclass

import torch
from torch import nn

from asterism.config import option
from asterism.objectives.classification import classification
from asterism.objectives.distances import l1
from asterism.recipes.base import Abilities, Adam, Recipe, Update
from my_networks import discriminator, generator


@dataclass(frozen=True, kw_only=True)
class Config:
    """The choices."""

    width: int = option(4, "Channels of both networks.", low=1)
    cycle: float = 10.0


class MyGAN(Recipe):
    """A generator that is told the difference."""

    config_type = Config
    averaged = ("generator",)
    presets = {"wide": {"recipe": {"width": 8}}}

    def __init__(self, config, space, picture):
        super().__init__(config, space, picture)
        self.generator = generator(picture.channels, space.num_labels, config.width)
        self.discriminator = discriminator(picture.channels, config.width)
        self.head = nn.Linear(config.width, 1 + space.num_labels)
        self.abilities = Abilities(translates=True, told="difference", side_multiple=1, judges=True)
        self.updates = (
            Update("discriminator", trains=("discriminator", "head")),
            Update("generator", trains=("generator",)),
        )

    def optimizers(self):
        return {name: Adam(1e-3) for name in ("generator", "discriminator", "head")}

    def prepare(self, batch, rng):
        order = torch.randperm(len(batch), generator=rng)
        known = batch.known * batch.known[order]
        return {"v": (batch.labels[order] - batch.labels) * known, "labels_trg": batch.labels[order]}

    def judged(self, x):
        scores = self.head(self.discriminator(x).mean((2, 3))).float()
        return scores[:, 0], scores[:, 1:]

    def discriminator_terms(self, batch, progress):
        with torch.no_grad():
            fake = self.translate(batch.x, batch.v).to(batch.x.dtype)
        real, classes = self.judged(batch.x)
        fake, _ = self.judged(fake)
        return {
            "real": (1.0, (real - 1).square()),
            "fake": (1.0, fake.square()),
            "class": (1.0, classification(classes, batch.labels, batch.known, self.space)),
        }

    def generator_terms(self, batch, progress):
        fake = self.translate(batch.x, batch.v)
        score, classes = self.judged(fake)
        return {
            "fake": (1.0, (score - 1).square()),
            "class": (1.0, classification(classes, batch.labels_trg, batch.known, self.space)),
            "cycle": (self.config.cycle, l1(self.translate(fake, -batch.v), batch.x)),
        }

    def translate(self, x, told, *, s=None, masks=()):
        told = told.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.generator(torch.cat([x, told], 1))

    def classify(self, x):
        return self.judged(x)[1]
'''

SHORT = "--data.size 32 --data.workers 0 --train.batch_size 4 --train.precision float32 --train.evaluate_every 0 --device cpu"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the recipes that a test adds, as the next process would."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.setattr(recipes, "_added", {})
    monkeypatch.delenv(recipes.VARIABLE, raising=False)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith("asterism_recipe_") or name == "my_networks":
            del sys.modules[name]


def forget() -> None:
    recipes._added.clear()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's with a recipe and the networks that it imports; not to be written to."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_networks.py").write_text(NETWORKS)
    (folder / "my_recipe.py").write_text(RECIPE)
    return folder / "my_recipe.py"


def train(file: Path | str, data: Path, out: Path, *words: str, steps: int = 2) -> int:
    return main(["train", str(file), "--data", str(data), "--out", str(out), *SHORT.split(), f"--train.steps={steps}", *words])


@pytest.fixture(scope="module")
def run(file: Path, table_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe; not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "_added", {})
        patch.setattr(sys, "path", list(sys.path))
        assert train(file, table_dir, out) == 0
    return out


def refusal(status: int, capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr()
    assert status == 1 and "Traceback" not in told.err, told
    return told.err.removeprefix("asterism: ").strip()


# -- a file ------------------------------------------------------------------------------------------------------------


def test_the_same_command_resumes(
    file: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is given by a path that begins where one is, as people type it; decoding processes do not need the recipe."""
    monkeypatch.chdir(file.parent)
    words = ["--data.workers=1", "--recipe.width=5"]
    assert train("./my_recipe.py", table_dir, tmp_path / "run", *words) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["name"] == "my_recipe" and config["recipe_from"] == f"{file}:MyGAN" and config["recipe"]["width"] == 5
    forget()
    assert train("./my_recipe.py", table_dir, tmp_path / "run", *words, steps=3) == 0
    assert "resuming at step 2 of 3" in capsys.readouterr().out


def test_another_class_and_a_file_that_is_gone_are_not_resumed(
    file: Path, run: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = Path(shutil.copytree(run, tmp_path / "run")), tmp_path / "my_recipe.py"
    other.write_text(RECIPE.replace("class MyGAN", "class YourGAN"))
    (tmp_path / "my_networks.py").write_text(NETWORKS)
    assert f"recipe: {file}:MyGAN -> {other}:YourGAN" in refusal(train(other, table_dir, out, steps=3), capsys)
    forget()
    other.write_text(RECIPE)
    assert train(other, table_dir, out, steps=3) == 0  # The file may have moved.
    forget()
    other.unlink()
    assert refusal(train(other, table_dir, out, steps=4), capsys) == f"there is no recipe's file {other}"


def test_a_model_is_translated_measured_and_told(
    file: Path, run: Path, table_dir: Path, tmp_path: Path, small_judge: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run, known = Path(shutil.copytree(run, tmp_path / "run")), ["--recipe", str(file)]
    picture = next((table_dir / "images").iterdir())
    assert main(["translate", str(run), str(picture), "--to", "Blue", "--out", str(tmp_path / "blue.png"), *known]) == 0
    assert Image.open(tmp_path / "blue.png").size == (32, 32)
    forget()
    words = ["--split", "val", "--protocol", "quick", "--device", "cpu", "--random"]
    assert main(["evaluate", str(run), *words, *known]) == 0  # The untrained one is built anew, by name.
    forget()
    assert main(["info", str(run), *known]) == 0
    told = capsys.readouterr().out
    assert "my_recipe\n" in told and re.search(r"^recipe from +my_recipe.py:MyGAN$", told, re.MULTILINE)
    assert "translated, all targets: reached" in told
    forget()
    assert main(["report", str(run), *known]) == 0
    assert "MyGAN" in (run / "report.html").read_text(encoding="utf-8")


def test_what_is_told_is_the_difference_to_the_labels_of_the_picture(file: Path, run: Path) -> None:
    """A picture that is red already is told nothing when it is to become red; else to lose a colour and gain another."""
    recipes.add(file)
    model = asterism.load(run, device="cpu")
    told = []
    inner = model.recipe.translate
    model.recipe.translate = lambda x, v, **more: told.append(v.tolist()) or inner(x, v, **more)
    x = torch.zeros(1, 3, 32, 32)
    for target in ("Red", "Blue"):
        model.translate(x, to=target, labels={"Red": True, "Border": True})
    assert model.model.space.names == ("Red", "Green", "Blue", "Border")
    assert told == [[[0.0, 0.0, 0.0, 0.0]], [[-1.0, 0.0, 1.0, 0.0]]]


def test_an_evaluation_tells_differences_too(
    file: Path, run: Path, tmp_path: Path, small_judge: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, a colour for another or the border alone; and on the way back the opposite."""
    kind = recipes.recipe_class(recipes.add(file))
    told, inner = [], kind.translate
    monkeypatch.setattr(kind, "translate", lambda self, x, v, **more: told.append(v) or inner(self, x, v, **more))
    run = Path(shutil.copytree(run, tmp_path / "run"))
    assert main(["evaluate", str(run), "--split", "val", "--protocol", "stargan", "--pictures", "4", "--device", "cpu"]) == 0
    colours, border = torch.cat(told)[:, :3], torch.cat(told)[:, 3]
    swapped, switched = colours.abs().sum(1) == 2, border.abs() == 1
    assert swapped.any() and switched.any() and not (swapped & switched).any() and (colours.sum(1) == 0).all()
    there, back = next((a, b) for a, b in zip(told, told[1:], strict=False) if len(a) == len(b) and a.any() and b.any())
    assert torch.equal(there, -back)


def test_a_model_is_exported_and_agrees(
    file: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setenv(recipes.VARIABLE, os.pathsep.join([str(tmp_path / "other.py"), f"{file}:MyGAN"]))
    assert main(["export", str(run), "--format", "onnx", "--out", str(tmp_path / "model.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    x, v = torch.rand(3, 3, 32, 32) * 2 - 1, torch.randint(-1, 2, (3, 4)).float()
    (y,) = session.run(None, {"image": x.numpy(), "difference": v.numpy()})
    own = load_model(run / "model.safetensors").recipe
    torch.testing.assert_close(torch.from_numpy(y), own.translate(x, v).clamp(-1, 1), rtol=1e-4, atol=1e-4)


def test_a_model_is_served(file: Path, run: Path, table_dir: Path) -> None:
    pytest.importorskip("fastapi")
    from tests.helpers.serving import client, service

    recipes.add(file)
    model, picture = asterism.load(run, device="cpu"), next((table_dir / "images").iterdir())
    with client(service(mine=model)) as web:
        answer = web.post("/api/models/mine/translate", files={"image": ("a.png", picture.read_bytes())}, data={"to": "Green"})
    assert answer.status_code == 200, answer.text
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert (shown == np.asarray(model.translate(picture, to="Green"))).all()


def test_a_card_says_how_the_recipe_is_made_known(file: Path, run: Path, tmp_path: Path) -> None:
    recipes.add(file)
    words = ["export", str(run), "--format", "hub", "--out", str(tmp_path / "hub")]
    assert main(words) == 0
    card = (tmp_path / "hub" / "README.md").read_text()
    assert 'asterism.recipes.add("my_recipe.py:MyGAN")' in card and "Relative GAN" in card
    places = [
        path for path in (tmp_path / "hub").rglob("*") if path.is_file() and str(file.parent).encode() in path.read_bytes()
    ]
    assert not places, "where its author's files are is nobody's business"


def test_a_recipe_is_listed(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["list", str(file)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "told the difference." in told and "wide --recipe.width 8" in told and "Channels of both networks. [4]" in told
    assert "recipe.cycle [10.0]" in told  # A plain field has no help.
    forget()
    (file.parent / "broken.py").write_text("1 / 0")
    monkeypatch.setenv(recipes.VARIABLE, os.pathsep.join([str(file), str(file.parent / "broken.py")]))
    assert main(["list"]) == 0
    rows = dict(re.findall(r"^(\w+) +(.*)", capsys.readouterr().out, re.MULTILINE))
    assert rows["stargan"] and "told the difference" in rows["my_recipe"]
    assert rows["broken"].endswith("cannot be read as a recipe: ZeroDivisionError: division by zero")


def test_keys_are_those_of_the_file(file: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(file), "--data", str(table_dir), "--out", str(tmp_path / "r")]
    with pytest.raises(SystemExit) as end:
        main([*words, "--width", "8"])
    assert end.value.code == 2 and "did you mean --recipe.width?" in capsys.readouterr().err
    assert "recipe.widht is not an option: did you mean recipe.width" in refusal(main([*words, "--recipe.widht=3"]), capsys)
    assert main(["doctor", str(table_dir), "--recipe", str(file), *SHORT.split()[:-2]]) == 0
    assert "my_recipe on" in capsys.readouterr().out


def test_a_bug_is_the_recipes_where_it_came_up_there(
    file: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "my_recipe.py"
    mine.write_text(RECIPE.replace("self.translate(fake, -batch.v)", "self.translate(fake)"))
    shutil.copy(file.with_name("my_networks.py"), tmp_path)
    assert train(mine, table_dir, tmp_path / "run") == 1
    told = capsys.readouterr().err
    line = 1 + mine.read_text().splitlines().index(
        '            "cycle": (self.config.cycle, l1(self.translate(fake), batch.x)),'
    )
    assert "Traceback" in told and "TypeError" in told
    assert (
        told.strip().splitlines()[-1] == f"asterism: this came up in a recipe that is not asterism's own: {mine}, line {line}"
    )


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_model_of_a_recipe_that_is_not_there_names_it_and_what_to_do(
    run: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(next((table_dir / "images").iterdir()))
    for words in (["info", str(run)], ["translate", str(run), picture, "--to", "Red", "--out", str(tmp_path / "o")]):
        said = refusal(main(words), capsys)
        assert "recipe 'my_recipe' is not part of asterism" in said and "trained from my_recipe.py:MyGAN" in said
        assert "--recipe PATH" in said and "ASTERISM_RECIPES" in said and "install the package" in said
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0  # Its files are all that a page needs.


def test_a_model_file_never_has_a_file_run(run: Path, tmp_path: Path) -> None:
    """Whatever it says: in the place of the recipe's name, or of where the recipe came from."""
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    for recipe, origin in (
        (str(trap), None),
        ("trap", f"{trap}:Trap"),
        (f"{trap}:Trap", f"{trap}:Trap"),
        ("stargan", str(trap)),
    ):
        copy = Path(shutil.copy(run / "model.safetensors", tmp_path / "model.safetensors"))
        rewrite(copy, recipe=recipe, info={"step": 1, "version": "0", "recipe_from": origin})
        with pytest.raises(ModelError):
            asterism.load(copy)
    assert not (tmp_path / "sprung").exists()


def test_a_model_is_of_one_class_of_a_file_with_several(file: Path, run: Path, tmp_path: Path) -> None:
    both = tmp_path / "my_recipe.py"
    both.write_text(RECIPE + "\n\nclass Second(MyGAN):\n    pass\n")
    (tmp_path / "my_networks.py").write_text(NETWORKS)
    with pytest.raises(ConfigError, match=r"several recipes, MyGAN, Second: name one, as my_recipe.py:MyGAN"):
        recipes.add(both)
    with pytest.raises(ConfigError, match=r"no recipe 'Scond': did you mean Second\?"):
        recipes.add(f"{both}:Scond")
    recipes.add(f"{both}:Second")
    with pytest.raises(ModelError, match="is the class Second here, and this model was trained from my_recipe.py:MyGAN"):
        load_model(run / "model.safetensors")
    forget()
    recipes.add(f"{both}:MyGAN")
    assert load_model(run / "model.safetensors").name == "my_recipe"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("stargan.py", RECIPE, "asterism has a recipe 'stargan' of its own"),
        ("classifier.py", RECIPE, "asterism has a recipe 'classifier' of its own"),
        ("empty.py", "x = 1", "holds no recipe: expected a class that builds on"),
        ("imported.py", "from asterism.recipes.stargan import StarGAN", "holds no recipe"),
        ("slip.py", "class X(Recipe) pass", "cannot be read as a recipe: SyntaxError: .*line 1"),
        ("bare.py", "from asterism.recipes.base import Recipe\nclass X(Recipe): pass", "X needs config_type, a dataclass"),
        ("text.txt", "", "expected a Python file, such as my_recipe.py"),
    ],
)
def test_files_that_are_no_recipe_are_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        recipes.add(tmp_path / name)
    assert not recipes._added


def test_two_files_do_not_share_a_name(file: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copy(file, tmp_path / "my_recipe.py"))
    assert recipes.add(file) == recipes.add(file) == "my_recipe"
    with pytest.raises(ConfigError, match="'my_recipe' is .*my_recipe.py:MyGAN already; take another name"):
        recipes.add(twin)
    assert recipes.add(twin, name="mine") == "mine"


def test_it_is_there_in_python_at_once() -> None:
    code = "import sys, asterism; print('stargan' in asterism.recipes.names(), 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["True", "False"]


def test_a_class_is_added_as_it_stands(file: Path) -> None:
    kind = recipes.recipe_class(recipes.add(file))
    assert recipes.add(kind, name="mine") == "mine" and recipes.recipe_class("mine") is kind
    assert recipes.add(kind) == "MyGAN"
    with pytest.raises(ConfigError, match="is no recipe"):
        recipes.add(dict)


# -- an installed package ----------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an installed package looks like that declares a recipe, one that cannot be imported, and one named as ours."""
    site = tmp_path / "site"
    facts = site / "more_gans-1.2.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: more-gans\nVersion: 1.2\n")
    lines = ["[asterism.recipes]", "relative = more_gans:MyGAN", "torn = gone_gans:MyGAN", "stargan = more_gans:MyGAN"]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    (site / "more_gans.py").write_text(RECIPE)
    (site / "my_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    return site


def test_a_packages_recipe_is_one_of_all(
    package: Path, table_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("relative", table_dir, tmp_path / "run") == 0
    assert asterism.load(tmp_path / "run").model.info["recipe_from"] == "more-gans 1.2: more_gans:MyGAN"
    capsys.readouterr()
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^relative .*\n.*presets: wide\n +from more-gans 1.2: more_gans:MyGAN$", told, re.MULTILINE)
    assert "recipe 'torn' of more-gans 1.2: gone_gans:MyGAN cannot be imported: ModuleNotFoundError" in told
    assert recipes.recipe_class("stargan").__module__ == "asterism.recipes.stargan"
    assert "cannot be imported: ModuleNotFoundError" in refusal(main(["list", "torn"]), capsys)


def test_a_package_is_not_imported_until_its_recipe_is_asked_for(package: Path) -> None:
    code = "import sys; from asterism.cli import main; main(['info', '/gone']); print('more_gans' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["False"], done.stderr
