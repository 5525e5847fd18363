"""The documentation: its commands parse and train on small data, its examples hold, its links lead somewhere, it builds."""

from __future__ import annotations

import ast
import doctest
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism import recipes
from asterism.cli import build_parser, main, parse
from asterism.config import fields_of
from asterism.data.dataset import open_data
from asterism.engine.run import build
from asterism.recipes import RECIPES, known_as, recipe_class
from asterism.recipes.model import save_model
from asterism.recipes.settings import Settings
from asterism.tables.numbers import number_ranges
from tests.helpers.discs import COLOURS, draw
from tests.helpers.generating import save_dcgan
from tests.helpers.pages import ROOT, blocks, write_own_recipe
from tests.helpers.recipes import TINY

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """docs/api/labels.md -> api/labels.md."""
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def commands() -> list[tuple[str, list[str]]]:
    """Return (page, words) of every asterism command; torchrun's are taken without torchrun."""
    found = []
    for page in PAGES:
        for line in "\n".join(blocks(page, "console")).splitlines():
            words = shlex.split(line, comments=True)
            if "asterism" in words:
                found.append((name_of(page), words[words.index("asterism") + 1 :]))
    return found


@pytest.fixture
def own_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the recipe that commands name by its path: that of docs/adding.md."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "_added", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write_own_recipe(tmp_path / "my_recipe.py")


@pytest.mark.usefixtures("own_recipe")
@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_commands_parse_and_their_keys_exist(page: str, words: list[str]) -> None:
    args = parse(words)
    if words[0] in ("train", "doctor"):
        Settings.resolve(args.recipe, args.data, args.preset, args.overrides)


def test_every_command_is_documented() -> None:
    named = {words[0] for page, words in commands() if page == "cli.md"}
    actions = next(action for action in build_parser()._actions if hasattr(action, "choices") and action.choices)
    assert named == set(actions.choices or ())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there and, on a page, to a heading that it has."""
    text = page.read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", prose(text)):
        file = page.parent / target if target else page
        assert file.exists(), f"{name_of(page)} points to {target}"
        if page.is_relative_to(DOCS):
            assert file.resolve().is_relative_to(DOCS), f"{name_of(page)} points to {target}, which the site does not hold"
        if heading:
            assert heading in headings(file), f"{name_of(page)} points to {target}#{heading}; {sorted(headings(file))}"


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them: in small letters, with hyphens for spaces, without punctuation."""
    found = re.findall(r"^#+ (.*)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_every_page_is_in_the_sites_contents() -> None:
    listed = {"index"}
    for page in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for tree in blocks(page, "{toctree}"):
            words = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {f"{page.parent.relative_to(DOCS).as_posix()}/{word}".removeprefix("./") for word in words}
    pages = {name_of(page).removesuffix(".md") for page in PAGES if page.is_relative_to(DOCS)}
    assert pages == listed, "a page in docs/ has a line in a toctree of docs/index.md, and a line has its page"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason='the extra docs is missing: pip install "asterism[docs]"')
    words = ["-q", "-W", "--keep-going", "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "site")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    built = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stderr
    assert "asterism.Translator.translate" in (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    for page in (tmp_path / "site").rglob("*.html"):
        # Of a page, what a browser fetches by itself: sources, style sheets and their kin; links wait for a click.
        fetched = re.findall(r"""(?:src|srcset)=["']([^"']+)|<link[^>]+href=["']([^"']+)""", page.read_text(encoding="utf-8"))
        assert not [url for pair in fetched for url in pair if re.match(r"(https?:)?//", url)], page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"""url\(["']?(https?:)?//|@import""", style.read_text(encoding="utf-8")), style


# -- commands that train ----------------------------------------------------------------------------------------------


def make_data(path: Path, settings: Settings, rng: random.Random) -> None:
    """Draw small data where a command says that its data are: a table with the labels that it names, else folders."""
    side = max(settings.data.crop, 32)
    wanted = [*settings.data.labels.split(","), *re.split("[,;]", settings.data.exclusive)]
    wanted.append(getattr(settings.recipe, "attribute", ""))
    labels = list(dict.fromkeys(filter(None, wanted)))
    numbers = number_ranges(settings.data.numbers)
    colours = list(COLOURS.values())
    if not labels:
        for domain in ("first", "second"):
            (path / f"{path.stem}_{domain}").mkdir(parents=True)
            for i in range(12):
                if path.name == "voices":
                    mel = np.random.default_rng(i).random((settings.data.size[0], settings.data.size[1] + i))
                    np.save(path / f"{path.stem}_{domain}" / f"{i}.npy", mel)
                    continue
                picture = draw(rng, colours[i % 3]).resize((side, side))
                if settings.data.classes and domain == "first":  # Label maps, and pictures of them.
                    picture = picture.convert("L").point(lambda value: value % settings.data.classes)
                if settings.data.value_range:  # Of a scanner: 12 bits, grey.
                    picture = Image.fromarray(np.array(picture.convert("L")).astype(np.uint16) * 16)
                picture.save(path / f"{path.stem}_{domain}" / f"{i}.png")
        if any(stream.of == "partner" for stream in recipe_class(settings.name).streams):
            files = sorted(path.rglob("*.png"))
            rows = [f"{file.relative_to(path).as_posix()},{file.parent.name},{file.stem},train" for file in files]
            (path / "manifest.csv").write_text("\n".join(["file,domain,identity,split", *rows]))
        return
    path.mkdir(parents=True)
    rows = []
    for i in range(24):
        draw(rng, colours[i % 3]).resize((side, side)).save(path / f"{i}.png")
        values = {
            label: i % max(2, len(labels)) == k for k, label in enumerate(labels)
        }  # Sets that exclude each other hold one.
        said = [low + (high - low) * i / 24 for low, high in numbers.values()]
        rows.append(",".join([f"{i}.png", *(str(int(on)) for on in values.values()), *map(str, said)]))
    (path / "manifest.csv").write_text("\n".join([",".join(["file", *labels, *numbers]), *rows]))


def rehearsals() -> list[tuple[str, list[str]]]:
    """Return the commands that train, each once."""
    found = {" ".join(words): (page, words) for page, words in commands() if words[0] == "train"}
    return list(found.values())


@pytest.mark.usefixtures("own_recipe")
@pytest.mark.parametrize(
    ("page", "words"), rehearsals(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_training_commands_start(
    page: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --dry-run, on small data of the kind that they name, by networks that are narrowed and nothing else."""
    narrow = {key: value for key, value in TINY.items() if key in fields_of(recipe_class(known_as(words[1])).config_type)}
    narrow.pop("discriminator_layers", None)  # Depth and the pictures' size have to fit, as the command has them.
    said = {key: ",".join(map(str, value)) if isinstance(value, tuple) else value for key, value in narrow.items()}
    words = [*words, *(f"--recipe.{key}={value}" for key, value in said.items())]
    words += ["--train.batch_size=2", "--train.device=cpu", "--dry-run"]
    args = parse(words)
    settings = Settings.resolve(args.recipe, args.data, args.preset, args.overrides)
    if args.model:
        save_dcgan(Path(args.model), size=max(settings.data.size), latent=TINY["latent_dim"])
    for source in args.data:
        make_data(Path(source), settings, random.Random(source))
    if args.init:
        model = build(settings, open_data(settings.data))
        save_model(Path(args.init) / "model.safetensors", model, args.recipe, model.state_dict(), info={"step": 1})
    if max(settings.data.size) > 64:  # Timing steps on large pictures takes long and is tested elsewhere.
        monkeypatch.setattr("asterism.commands.doctor.expected_cost", lambda *_: (["1 s per 1,000 steps"], {}))
    before = sorted(tmp_path.rglob("*"))
    assert main(words) == 0, capsys.readouterr().err
    assert "per 1,000 steps" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_python_examples_are_python() -> None:
    examples = [code for page in PAGES for code in blocks(page, "python")]
    assert len(examples) >= 4
    for code in examples:
        ast.parse(code)


def test_the_papers_page_lists_every_recipe_and_preset() -> None:
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|(.*)\|$", (DOCS / "papers.md").read_text(), re.MULTILINE)}
    assert rows.keys() == RECIPES.keys()
    for name, row in rows.items():
        assert all(f"`{preset}`" in row for preset in recipe_class(name).presets)


def test_links_between_pages_lead_somewhere() -> None:
    """Also those of the front page, which the site's builder does not see."""
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_make_targets_in_the_readme_exist() -> None:
    wanted = re.findall(r"^make (\w+)", "\n".join(block for page in PAGES for block in blocks(page, "console")), re.MULTILINE)
    rules = re.findall(r"^([\w.]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert wanted and set(wanted) <= set(rules)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "pycon")], ids=name_of)
def test_python_sessions_come_out_as_shown(page: Path) -> None:
    session = "\n".join(blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(session, {}, name_of(page), str(page), 0)
    assert test.examples
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)
