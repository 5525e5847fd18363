"""The rules of docs/architecture.md that a reader of one file cannot see broken."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asterism import recipes as registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "asterism"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A part imports from parts on lower floors only; parts of one floor do not import one another.
FLOORS = (
    ("errors", "malloc", "signals", "threads", "wording", "mistaken", "console"),
    ("config",),
    ("labels", "machine", "cuda_graphs", "storage", "sound", "terminal", "display", "tables", "lock", "cache"),
    ("shards",),
    ("networks", "objectives", "data", "runs"),
    ("recipes",),
    ("manifold",),
    ("engine", "metrics", "inference"),
    ("evaluation", "export", "report", "doctor", "packing"),
    ("serving", "studio", "training", "batch"),
    ("commands",),
    ("cli", "__init__"),
)
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}

MAX_FILE_LINES = 400
MAX_CORE_LINES = 8_550
CORE = (
    "errors",
    "config",
    "labels",
    "malloc",
    "machine",
    "cuda_graphs",
    "storage",
    "networks",
    "objectives",
    "data",
    "recipes",
    "engine",
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    """asterism/data/loader.py -> data; asterism/config.py -> config."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "cli" if first == "__main__" else first  # `python -m asterism` is another way to call it.


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def imported(path: Path) -> tuple[tuple[int, str], ...]:
    """Return (line, module) of every import in the file, those inside functions too; relative ones made absolute."""
    return tuple(imports(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what `imported` returns."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (above, node.module)))
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def uphill(path: Path) -> list[str]:
    """List the imports of `path` that do not point down."""
    mine, found = part_of(path), set()
    for line, module in imported(path):
        pieces = module.split(".")
        if pieces[0] != "asterism" or len(pieces) < 2 or pieces[1] not in FLOOR:
            continue  # `from asterism import __version__` reads a constant.
        theirs = pieces[1]
        down = theirs == mine or FLOOR[theirs] < FLOOR[mine]
        if not down:
            found.add(f"{name_of(path)}:{line} {mine} imports {theirs}")
    return sorted(found)


def test_every_source_has_a_floor() -> None:
    strangers = {part_of(path) for path in SOURCES} - set(FLOOR)
    assert not strangers, f"say in FLOORS, and in docs/architecture.md, where these belong: {strangers}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert uphill(path) == []


def test_an_import_that_points_up_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "asterism" / "data" / "loader.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("from asterism.config import build\ndef f():\n    from ..networks.stargan import Generator\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "asterism")
    assert uphill(bad) == ["asterism/data/loader.py:3 data imports networks"]


RECIPES = [
    ROOT / (where.partition(":")[0].replace(".", "/") + ".py") for where in (registry.RECIPES | registry.JUDGES).values()
]
FORBIDDEN_METHODS = {"backward", "step", "to", "item", "cpu", "cuda", "tolist", "numpy", "autocast"}
FORBIDDEN_NAMES = {"print", "autocast", "distributed"}


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_only_states_the_paper(path: Path) -> None:
    """Differentiating, stepping, moving, reading back, choosing a precision, printing, communicating: the engine's."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_METHODS:
            if node.func.attr == "to" and [getattr(argument, "attr", "") for argument in node.args] == ["dtype"]:
                continue  # `.to(x.dtype)` follows another tensor: it neither moves nor chooses.
            found.append(f"{node.lineno}: .{node.func.attr}(")
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
            found.append(f"{node.lineno}: {node.id}")
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_NAMES:
            found.append(f"{node.lineno}: .{node.attr}")
    found += [
        f"{line}: imports {module}" for line, module in imported(path) if "distributed" in module or "amp" in module.split(".")
    ]
    assert not found, f"{name_of(path)} does what only the engine may do: {found}"


def test_no_recipe_builds_on_another() -> None:
    """A recipe is read alone: copy the file, change it, and say in its header what changed."""
    for path in RECIPES:
        bases = [ast.unparse(base) for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef) for base in node.bases]
        assert "Recipe" in bases, f"{name_of(path)} declares no recipe"
        others = [module for _, module in imported(path) if re.match(r"asterism\.recipes\.(?!base\b|model\b)", module)]
        assert not others, f"{name_of(path)} imports {others}"


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_stay_short() -> None:
    checked = SOURCES + sorted((PACKAGE / "assets").iterdir()) + sorted(PACKAGE.rglob("*.j2"))
    long = {name_of(path): n for path in checked if (n := line_count(path)) > MAX_FILE_LINES}
    assert not long, f"more than {MAX_FILE_LINES} lines: split by idea, not by length: {long}"


@functools.cache
def systems_of(path: Path) -> set[str]:
    """Return the recipes and judges that a file of networks serves: the one that it is named after, or those of its importers.

    Importers are looked for in asterism/networks and asterism/recipes; one that belongs to several systems hands on them all.
    """
    names = registry.RECIPES | registry.JUDGES
    if path.stem in names:
        return {path.stem}
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    near = [*(PACKAGE / "networks").rglob("*.py"), *(PACKAGE / "recipes").glob("*.py")]
    importers = [other for other in near if any(found == module for _, found in imported(other))]
    return set().union(*map(systems_of, importers))


def test_the_core_stays_readable() -> None:
    """What every system shares. A paper's recipe and its own networks are read alone, and have the limit of a file.

    Networks are a paper's own if their file is named after a recipe or a judge, or if one system alone imports it. Layers that
    several systems import count.
    """
    own = {path for path in (PACKAGE / "networks").glob("*.py") if len(systems_of(path)) == 1}
    assert {"stargan.py", "vgg.py"} <= {path.name for path in own}, "each paper has networks of its own"
    assert not {"layers.py", "batch_norm.py", "resnet.py"} & {path.name for path in own}, "several systems share these"
    papers = own | set(RECIPES)
    total = sum(line_count(path) for path in SOURCES if part_of(path) in CORE and path not in papers)
    assert total <= MAX_CORE_LINES, f"errors to engine hold {total} lines, the budget is {MAX_CORE_LINES}"


def test_names_say_what_a_file_is() -> None:
    vague = [name_of(path) for path in SOURCES if path.stem in ("utils", "util", "common", "misc", "helpers", "tools")]
    assert not vague


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_names_say_what_they_are(path: Path) -> None:
    """Every module, public function and public class has a docstring; every public function is annotated in full."""
    tree = tree_of(path)
    missing = [] if not tree.body or ast.get_docstring(tree) else ["the module has no docstring"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                missing.append(f"{node.lineno}: {node.name} has no docstring")
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None] + (["return"] if node.returns is None else [])
            missing += [f"{node.lineno}: {node.name} has no annotation of {a}" for a in bare]
    assert not missing, f"{name_of(path)}: {missing}"


PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_architecture_page_draws_these_floors() -> None:
    drawing = re.search(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert drawing and tuple(tuple(line.split(" | ")) for line in reversed(drawing[1].splitlines())) == FLOORS


def test_architecture_page_lists_every_source_once_and_nothing_else() -> None:
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", PAGE, re.MULTILINE)
    coded = [p for p in SOURCES if len(tree_of(p).body) > 1]  # A folder's bare docstring needs no line of its own.
    assert sorted(listed) == sorted(p.relative_to(PACKAGE).as_posix() for p in coded)


def test_architecture_page_lists_a_folders_files_below_its_name() -> None:
    for part in re.split(r"^\| (?=\*\*)", PAGE, flags=re.MULTILINE)[1:]:
        folders = {
            path.partition("/")[0] if "/" in path else "single files"
            for path in re.findall(r"^\| `([\w/]+\.py)`", part, re.MULTILINE)
        }
        assert folders == {part[2:].partition("**")[0]}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


def test_importing_the_package_does_not_import_torch() -> None:
    result = run("import sys, asterism; print(asterism.__version__, 'torch' in sys.modules)")
    assert result.stdout.split()[1:] == ["False"], result.stdout + result.stderr


def test_the_engine_knows_no_terminal() -> None:
    """PyTorch imports argparse for itself, so our own modules are read for what they import."""
    result = run("import sys, asterism.engine.run; print(*sys.modules)")
    loaded = result.stdout.split()
    assert "asterism.engine.trainer" in loaded and not any(name.partition(".")[0] == "rich" for name in loaded), result.stderr
    ours = [path for path in SOURCES if ".".join(path.relative_to(ROOT).with_suffix("").parts) in loaded]
    assert not [path for path in ours for _, module in imported(path) if module in ("argparse", "rich")]


def test_help_answers_at_once() -> None:
    """It reads the standard library's modules and a few of its own, which takes a tenth of a second; PyTorch takes several."""
    code = """
import sys
before = set(sys.modules)
from asterism.cli import main
sys.argv = ["asterism", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
read = set(sys.modules) - before
foreign = {name.partition(".")[0] for name in read} - sys.stdlib_module_names - {"asterism"}
assert not foreign, f"{foreign} are imported before the command is known"
assert len(read) <= 120, f"{len(read)} modules are imported before the command is known"
"""
    result = run(code)
    assert result.returncode == 0 and "train" in result.stdout, result.stderr
