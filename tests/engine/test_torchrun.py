"""Training by torchrun as a user starts it: a process that is killed, and groups that torchrun starts anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asterism.storage.run_files import read_log
from tests.helpers.runs import assert_same_state, small, state

ROOT = Path(__file__).parents[2]
SETTINGS = small(
    train__batch_size=5, train__steps=7, train__decay_steps=0, train__checkpoint_every=3, train__log_every=1, train__keep=9
)
"""Of three processes, two have two pictures of a batch, and one has one."""


def torchrun(data: Path, out: Path, *flags: str, killed: str = "") -> subprocess.CompletedProcess[str]:
    """Train with three processes; KILLED is `RANK:STEP`."""
    out.parent.mkdir(exist_ok=True)
    words = [f"--{key}={value}" for key, value in SETTINGS.items()]
    script = [
        str(ROOT / "tests" / "helpers" / "watched.py"),
        "train",
        "stargan",
        "--data",
        str(data),
        "--out",
        str(out),
        *words,
    ]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"WATCHED": str(out.parent), "KILLED": killed, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", *flags, *script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_process_killed_in_mid_step_ends_all_and_the_run_goes_on_bit_for_bit(shapes_dir, tmp_path):
    """Started again by hand, and by torchrun itself."""
    whole = torchrun(shapes_dir, tmp_path / "whole" / "run")
    assert whole.returncode == 0 and whole.stdout.count("done: ") == 1, whole.stderr
    for rank in "12":
        said = (tmp_path / "whole" / f"{rank}.txt").read_text().splitlines()
        assert not [line for line in said if str(tmp_path) in line], "only the first process writes"
    assert "checkpoints" in (tmp_path / "whole" / "0.txt").read_text()

    ended = torchrun(shapes_dir, tmp_path / "parts" / "run", killed="1:4")
    assert ended.returncode != 0
    assert "asterism: no answer from the other training processes" in ended.stderr
    assert "run the same command again to resume" in ended.stderr
    assert state(tmp_path / "parts" / "run")["step"] == 3
    resumed = torchrun(shapes_dir, tmp_path / "parts" / "run")
    assert resumed.returncode == 0 and "resuming at step 3 of 7" in resumed.stdout, resumed.stderr

    anew = torchrun(shapes_dir, tmp_path / "anew" / "run", "--max-restarts", "1", killed="0:5")
    assert anew.returncode == 0 and "restart 1: resuming at step 3 of 7" in anew.stdout, anew.stderr

    for name in ("parts", "anew"):
        assert_same_state(state(tmp_path / "whole" / "run"), state(tmp_path / name / "run"))
        logs = [read_log(tmp_path / run / "run" / "log.jsonl") for run in ("whole", name)]
        assert [line["step"] for line in logs[1]] == list(range(1, 8))
        assert [line["terms"] for line in logs[0]] == [line["terms"] for line in logs[1]]
