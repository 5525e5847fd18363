"""The page on many nodes and the job files beside it: they start what they say, and the tables are what the model gives."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from asterism.cli import parse
from asterism.recipes.settings import Settings
from bench.scale import CASES, NETWORKS, efficiency, tables

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "examples" / "cluster"


def checked(words: list[str]):
    """Read torchrun's words as torchrun does, and those after `-m asterism` as asterism does; return torchrun's."""
    args = get_args_parser().parse_args(words)
    assert args.module and args.training_script == "asterism"
    ours = parse(args.training_script_args)
    Settings.resolve(ours.recipe, ours.data, ours.preset, ours.overrides)
    assert ours.out and args.max_restarts == 3 and args.rdzv_backend == "c10d"
    return args


@pytest.mark.skipif(sys.platform == "win32", reason="no bash")
def test_the_slurm_job_starts_torchrun_once_a_node():
    job = JOBS / "train.sbatch"
    subprocess.run(["bash", "-n", str(job)], check=True)
    text = job.read_text(encoding="utf-8")
    options = {line.partition(" ")[2].partition("=")[0] for line in text.splitlines() if line.startswith("#SBATCH")}
    assert {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--requeue"} <= options and "--ntasks-per-node=1" in text
    words = shlex.split(text[text.index("srun ") :].replace("\\\n", " "))
    args = checked(words[words.index("torchrun") + 1 :])
    assert (args.nnodes, args.nproc_per_node, args.rdzv_endpoint) == ("$SLURM_JOB_NUM_NODES", "gpu", "$first:29400")


def test_the_kubernetes_pods_find_the_first_of_them():
    service, job = yaml.safe_load_all((JOBS / "train.yaml").read_text(encoding="utf-8"))
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (service["kind"], service["spec"]["clusterIP"]) == ("Service", "None")
    assert service["spec"]["publishNotReadyAddresses"] and service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["completions"] == job["spec"]["parallelism"]
    assert container["command"] == ["torchrun"]
    args = checked(container["args"])
    (port,) = service["spec"]["ports"]
    assert args.nnodes == str(job["spec"]["completions"])
    assert args.rdzv_endpoint == f"{name}-0.{pod['subdomain']}:{port['port']}"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_tables_of_many_gpus_are_those_of_the_page():
    assert tables() in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for case in CASES:
        updates = case.updates()
        for network in NETWORKS:
            after, early = ([efficiency(updates, gpus, network, soon) for gpus in (8, 64, 256)] for soon in (False, True))
            assert all(0 < a < b < 1 for a, b in zip(after, early, strict=True)), "what overlaps costs less"
            assert after == sorted(after, reverse=True)
