"""The documentation: its commands parse, their keys and presets exist, its links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from asterism.cli import build_parser, read_overrides
from asterism.recipes import RECIPES, recipe_class
from asterism.recipes.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """Return (page, words) of every asterism command; torchrun's are taken without torchrun."""
    found = []
    for page in PAGES:
        for line in "\n".join(blocks(page, "console")).splitlines():
            words = shlex.split(line, comments=True)
            if "asterism" in words:
                found.append((page.name, words[words.index("asterism") + 1 :]))
    return found


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_commands_parse_and_their_keys_exist(page: str, words: list[str]) -> None:
    args, rest = build_parser().parse_known_args(words)
    overrides = read_overrides(rest, args.parser)
    if words[0] in ("train", "doctor"):
        Settings.resolve(args.recipe, args.data, args.preset, overrides)


def test_every_command_is_documented() -> None:
    named = {words[0] for page, words in commands() if page == "cli.md"}
    actions = next(action for action in build_parser()._actions if hasattr(action, "choices") and action.choices)
    assert named == set(actions.choices or ())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_python_examples_are_python() -> None:
    examples = [code for page in PAGES for code in blocks(page, "python")]
    assert len(examples) >= 4
    for code in examples:
        ast.parse(code)


def test_the_readme_lists_every_recipe_and_preset() -> None:
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)}
    assert rows.keys() == RECIPES.keys()
    for name, row in rows.items():
        assert all(f"`{preset}`" in row for preset in recipe_class(name).presets)


def test_make_targets_in_the_readme_exist() -> None:
    wanted = re.findall(r"^make (\w+)", "\n".join(block for page in PAGES for block in blocks(page, "console")), re.MULTILINE)
    rules = re.findall(r"^([\w.]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert wanted and set(wanted) <= set(rules)
