"""What is printed of names that the data bring: folders and labels are text, whatever they hold."""

from __future__ import annotations

import io
import sys
from types import ModuleType

import pytest
from rich.console import Console

from asterism.console import make_console
from asterism.evaluation.table import show
from asterism.terminal import counting, encode_all

ODD = "scan [bold] x[/b] {y}"


def test_a_bar_names_any_folder_and_begins_without_an_invented_total(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # A terminal, to Rich.
    monkeypatch.setenv("COLUMNS", "120")
    with counting(f"reading {ODD}") as tell:
        begun = capsys.readouterr().err
        tell(3, 7)
    assert "reading scan" in begun and "/100" not in begun
    assert "x[/b] {y}" in capsys.readouterr().err


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """The label cat of the data set faces is no drawing of a cat."""
    make_console().print("faces:cat: 12", markup=False)
    assert capsys.readouterr().out == "faces:cat: 12\n"


def test_scores_are_printed_of_any_label_and_extractor() -> None:
    measure = {"better": "higher", "unit": "share", "meaning": "the classifier finds it", "order": []}
    values = {"pictures": 3, "values": {"reached": 0.5}}
    record = {
        **{"protocol": "quick", "version": 1, "split": "test", "checkpoint": "last", "step": 2},
        "extractor": {"name": f"extractor {ODD}", "digest": "0c55"},
        "metrics": {"reached": measure},
        "rows": [
            {"name": "translated, all targets", "kind": "translated", **values},
            {"name": f"translated, part {ODD}", "kind": "translated", **values},
            {"name": f"row {ODD}", "kind": "copy", **values},
        ],
        "targets": {f"target {ODD}": values},
        "classifier": {"accuracy": 1.0, "needed": 0.85, "void": False},
        "notes": [f"note {ODD}"],
    }
    told = io.StringIO()
    show(record, Console(file=told))
    for name in ("extractor", "translated, part", "row", "target", "note"):
        assert f"{name} {ODD}" in told.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_no_stream_ends_a_command_by_what_it_cannot_encode(encoding: str) -> None:
    """A file or a pipe on Windows, a POSIX locale, and the name of a file that is no text."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    encode_all(stream)
    print("━━ Zoë 猫 2×3 caf\udce9", file=stream)
    told = raw.getvalue().decode(encoding)
    assert told.endswith("caf\\udce9\n") and ("Zoë" in told or "Zo\\xeb" in told), "written as the line ends"
    assert ("猫" in told) == ("━━" in told) == (encoding == "utf-8")
    assert encoding == "utf-8" or told.startswith("-- ")


def test_a_notebook_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel asks for colours by FORCE_COLOR, and would keep each redrawn bar."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert make_console().is_terminal
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert not make_console().is_terminal
