"""The notebooks in examples/: small, in order, and each runs from its first cell to its last."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
MOST_BYTES = 300_000


def name_of(path: Path) -> str:
    return path.stem


def pictures(cells: list[Any]) -> list[Image.Image]:
    """Return the pictures that cells show, in order."""
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
    return [Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) for data in outputs if "image/png" in data]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_kept_as_it_ran(path: Path) -> None:
    """A reader sees its results without running it; cells were run once each, in order, and none failed."""
    assert path.stat().st_size < MOST_BYTES
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert 8 <= len(cells) <= 15
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    assert pictures(cells)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, with fewer steps than it says; it shows as many pictures as the one that is kept."""
    missing = 'the extra notebooks is missing: pip install "asterism[notebooks]"'
    client = pytest.importorskip("nbclient", reason=missing)
    pytest.importorskip("ipykernel", reason=missing)
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    shown = [picture.size for picture in pictures(notebook.cells)]
    settings = notebook.cells[1]
    settings.source, changed = re.subn(r"^STEPS = \d+", "STEPS = 8", settings.source, flags=re.MULTILINE)
    assert changed == 1, "the second cell has the settings that a reader raises"
    client.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    made = pictures(notebook.cells)
    assert [picture.size for picture in made] == shown
    assert all(low < high for picture in made for low, high in picture.convert("RGB").getextrema())
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"], "what a notebook writes lies in one folder"
