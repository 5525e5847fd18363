"""All that needs a GPU, in one command: `python -m bench.gpu`.

Runs the tests marked `gpu`, then the rows of docs/performance.md for one NVIDIA GPU: training of StarGAN at 128 px and
StarGAN v2 at 256 px, translation, each against the published step in float32 with TF32 off and on, ours without CUDA
graphs, and peak memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from asterism.config import ConfigError
from asterism.storage.whole import write_json
from bench import rows
from bench.__main__ import agree, describe, in_words, report
from bench.cases import Case
from bench.rows import AS_CHOSEN, Row, Way

ROOT = Path(__file__).parents[1]
TRAINING = [Case("stargan", 128, 16), Case("stargan_v2", 256, 8)]
TRAINED_ONLY = [Case("cyclegan", 256, 1), Case("pix2pix", 256, 16), Case("pix2pixhd", 256, 1)]
TRAINED_ONLY += [Case("relgan", 256, 4), Case("ganimation", 128, 25)]
"""Of these the step alone is measured, as the machine chooses."""
TRANSLATION = Case("stargan", 128, 64)
GOALS = {
    "StarGAN training cycle 128px batch 16": (6.0, 0.35),
    "StarGAN v2 training iteration 256px batch 8": (8.0, 0.40),
    "StarGAN translation 128px batch 64": (6.0, None),
    "StarGAN peak memory 128px batch 16": (2.0, None),
    "StarGAN v2 peak memory 256px batch 8": (2.0, None),
    "CycleGAN training step 256px batch 1": (2.5, None),
    "pix2pix training step 256px batch 16": (3.0, None),
    "pix2pixHD training step 256x512px batch 1": (2.5, None),
    "RelGAN training step 256px batch 4": (2.5, None),
    "GANimation training cycle 128px batch 25": (2.5, None),
}
"""Row -> times the published step with TF32 off, and share of the measured bfloat16 ceiling."""


def main() -> int:
    """Test, measure, print, write; exit status 1 where a test failed."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="wall time per case, one round at least [20]")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE", help="the results [gpu.json]")
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise ConfigError(f"PyTorch {torch.__version__} sees no CUDA device; these rows are measured on one NVIDIA GPU")
    device, results, passed = torch.device("cuda"), list[Row](), True
    if not args.no_tests:
        passed = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu"], cwd=ROOT).returncode in (0, 5)
    machine = describe(device)
    agree({case.recipe for case in TRAINING + TRAINED_ONLY}, device)
    for way in (AS_CHOSEN, Way(" against TF32", tf32=True), Way(" without CUDA graphs", recorded=False)):
        for case in TRAINING:
            results += rows.training(case, way, machine, args.seconds)
        results.append(rows.translation(TRANSLATION, way, machine, args.seconds))
    for case in TRAINED_ONLY:
        results += rows.training(case, AS_CHOSEN, machine, args.seconds)
    results += [rows.memory(case, AS_CHOSEN, machine) for case in TRAINING]
    for row in results:
        print(f"{row}{in_words(row)}{verdict(row)}")
    write_json(args.json, report(machine, results) | {"tests_passed": passed})
    print(f"written: {args.json}")
    return 0 if passed else 1


def verdict(row: Row) -> str:
    """Say whether a row reaches its goal; nothing where it has none."""
    if row.name not in GOALS:
        return ""
    ratio, share = GOALS[row.name]
    reached = row.ratio >= ratio and (share is None or row.detail["share_of_ceiling"] >= share)
    wanted = f"{ratio:g}x" + (f" and {share:.0%} of the ceiling" if share else "")
    return f"  goal {wanted}: {'reached' if reached else 'missed'}"


if __name__ == "__main__":
    raise SystemExit(main())
