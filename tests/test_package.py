"""The built wheel, installed away from the source tree: what a user gets."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.tools import tool

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "asterism" / "sample" / "avatars"
FOLDERS = ("asterism", "bench", "docs", "examples", "tests", "tools")
HAIR = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Gray_Hair")


def pip(*arguments: str) -> None:
    result = subprocess.run([sys.executable, "-m", "pip", "-q", *arguments], capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree so that no build folder is left in it."""
    base = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "asterism", base / "source" / "asterism", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, base / "source")
    pip("wheel", str(base / "source"), "--no-deps", "--no-build-isolation", "--no-index", "-w", str(base / "wheels"))
    return next((base / "wheels").glob("asterism-*.whl"))


def test_the_installed_wheel_is_whole(wheel: Path, tmp_path: Path) -> None:
    pip("install", str(wheel), "--no-deps", "--no-index", "--no-compile", "--target", str(tmp_path / "site"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    code = f"""
import importlib.metadata, importlib.resources, pathlib, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import asterism
home = pathlib.Path(asterism.__file__).parent
assert home == pathlib.Path({str(tmp_path / "site" / "asterism")!r}), home
assert asterism.__version__ == {version!r} == importlib.metadata.version("asterism")
assets = ("py.typed", "assets/report.css", "assets/report.js", "report/templates/page.html.j2")
sample = ("avatars/manifest.csv", "avatars/LICENSE.md", "demo.safetensors", "drawings/red.jpg")
for name in (*assets, *map("sample/".__add__, sample)):
    assert (home / name).is_file(), name
import asterism.cli, asterism.labels, asterism.config, asterism.report
print(len(list((home / "sample/avatars/images").iterdir())))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == len(list((SAMPLE / "images").iterdir()))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is kept under version control, of the sample's pictures two, and beside it what working there leaves."""
    copy = tmp_path / "asterism"
    copy.mkdir()
    left = shutil.ignore_patterns(
        "__pycache__", "node_modules", ".ipynb_checkpoints", ".DS_Store", "00[1-9]*.jpg", "000[1-9]*.jpg"
    )
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=left)
    shutil.rmtree(copy / "examples" / "runs", ignore_errors=True)
    shutil.rmtree(copy / "examples" / "browser" / "dist", ignore_errors=True)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy)
    return copy


STRAY = (
    "asterism/__pycache__/cli.cpython-311.pyc",
    "tests/helpers/__pycache__/discs.cpython-311.pyc",
    "docs/.DS_Store",
    "examples/runs/quick_start/model.safetensors",
    "examples/.ipynb_checkpoints/quick_start-checkpoint.ipynb",
    "examples/browser/node_modules/vite/index.js",
    "build/lib/asterism/removed.py",
    "runs/demo/model.safetensors",
)


def test_the_source_archive_holds_the_tests_and_nothing_stray(tree: Path) -> None:
    """Who packs asterism for a system runs its tests; what building and working leave in a tree stays there."""
    wanted = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    for name in STRAY:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"stray")
    code = "from setuptools.build_meta import build_sdist; print(build_sdist('made'))"
    built = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tree, timeout=200)
    assert built.returncode == 0, built.stderr
    with tarfile.open(next((tree / "made").glob("asterism-*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    generated = {name for name in names if name in ("PKG-INFO", "setup.cfg") or name.startswith("asterism.egg-info/")}
    assert names - generated == wanted
    assert {"tests/helpers/discs.py", "docs/index.md", "examples/quick_start.ipynb", "constraints.txt"} <= wanted


def test_the_wheel_says_its_licences_and_stays_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        model = archive.getinfo("asterism/sample/demo.safetensors").compress_size
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    assert "License-Expression: MIT AND CC-BY-4.0" in metadata
    licences = {n.partition("/licenses/")[2] for n in names if "/licenses/" in n}
    assert licences == {"LICENSE", "asterism/sample/avatars/LICENSE.md"}
    assert not [n for n in names if n.split("/")[0] not in ("asterism", names[-1].split("/")[0])], "only the package is packed"
    assert model < 6e6 and wheel.stat().st_size - model < 5e6


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_is_pinned_in_constraints() -> None:
    """`make .venv` is the same on every day only if each direct dependency has one exact version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: extra for name, extra in project["optional-dependencies"].items() if name != "inception"}  # Not in .venv.
    wanted = [*project["dependencies"], *(d for extra in extras.values() for d in extra if not d.startswith("asterism["))]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().lower().split())
    bare = [name for d in wanted if (name := re.split(r"[>\[]", d)[0].lower()) not in pins]
    assert not bare


def test_sample_holds_the_true_picture_of_every_edit() -> None:
    with open(SAMPLE / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {f"images/{path.name}" for path in (SAMPLE / "images").iterdir()}
    assert all(sum(row[name] == "1" for name in HAIR) == 1 for row in rows), "hair colours exclude each other"
    test = [row for row in rows if row["split"] == "test"]
    labels = [name for name in rows[0] if name not in ("file", "split", "identity")]
    combinations = {(row["identity"], *(row[name] for name in labels)) for row in test}
    assert len(combinations) == len(test) == len({row["identity"] for row in test}) * 5 * 2 * 2 * 2
    assert not {row["identity"] for row in test} & {row["identity"] for row in rows if row["split"] != "test"}


def test_sample_is_made_by_the_tool(tmp_path: Path) -> None:
    """The tool, run on the sample itself, keeps its rows and its size."""
    make = tool("make_sample")
    with open(SAMPLE / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert make.choose(rows, train=1200, val=40, identities=12) == rows
    assert len(make.choose(rows, train=10, val=2, identities=3)) == 10 + 2 + 3 * 40
    with pytest.raises(ValueError, match="the full set holds 1200"):
        make.choose(rows, train=1201, val=40, identities=12)
    assert make.shrink(SAMPLE / rows[0]["file"], tmp_path / "small.jpg", 32, 80) == (tmp_path / "small.jpg").stat().st_size
    assert Image.open(tmp_path / "small.jpg").size == (32, 32)
