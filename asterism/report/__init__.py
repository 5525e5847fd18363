"""The one report.html writer: what runs were trained on, how that went, what came out, and whether it works.

The page is one file that loads nothing from elsewhere: pictures are embedded, and `assets/report.js` only adds to what can be
seen without it. It is made from the files of the run folders alone (docs/training.md lists them), shows what is there and
leaves out what is not; machine names and paths stay out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asterism.report.page import render
from asterism.storage.run_folder import Run, RunError, read_run
from asterism.storage.whole import write_whole


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write one self-contained page on one run, or on several beside each other.

    Args:
        runs: run folders.
        out: the file to write; by default report.html in the run folder or, with several, in the folder above the first.

    Returns:
        The file written.

    Raises:
        RunError: no run is named, or a folder holds neither config.json nor model.safetensors.
    """
    if not runs:
        raise RunError("name at least one run folder to report on")
    folders = list(dict.fromkeys(Path(run).resolve() for run in runs))
    read = named_apart([read_run(folder) for folder in folders], folders)
    out = Path(out) if out else (folders[0] if len(folders) == 1 else folders[0].parent) / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, render(read).encode())
    return out


def named_apart(runs: Sequence[Run], folders: Sequence[Path]) -> list[Run]:
    """Return the runs, those whose folders have one name with a number behind it."""
    total, seen = Counter(folder.name for folder in folders), Counter[str]()
    named = []
    for run, folder in zip(runs, folders, strict=True):
        seen[folder.name] += 1
        named.append(replace(run, name=f"{folder.name} ({seen[folder.name]})") if total[folder.name] > 1 else run)
    return named
