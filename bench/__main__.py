"""`python -m bench`, or `make bench`: asterism against the published training steps, on this machine.

Without options, the rows of the table in docs/performance.md that a CPU can give; with --recipe, --size or --batch, one
case. Both sides' losses and gradients are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from asterism.storage.whole import write_json
from bench import rows
from bench.agreement import check
from bench.cases import TITLES, Case
from bench.clock import Clock, matrix_ceiling
from bench.rows import AS_CHOSEN, FLOAT32, Machine, Row

TRAINING = [Case("stargan", 128, 16), Case("stargan_v2", 128, 2), Case("stargan_v2", 256, 2)]
TRAINING += [Case("pix2pix", 256, 1), Case("pix2pix", 256, 16), Case("cyclegan", 256, 1)]
TRANSLATION = Case("stargan", 128, 16)
SMALL = {
    "stargan": Case("stargan", 64, 4, {"conv_dim": 16, "discriminator_conv_dim": 16}),
    "stargan_v2": Case("stargan_v2", 64, 2, {"capacity": 2**11, "max_width": 128}),
    "cyclegan": Case("cyclegan", 64, 2, {"conv_dim": 16, "num_blocks": 2, "discriminator_conv_dim": 16}),
    "pix2pix": Case("pix2pix", 64, 4, {"conv_dim": 16, "discriminator_conv_dim": 16}),
    "pix2pixhd": Case("pix2pixhd", 32, 2, {"conv_dim": 16, "num_downs": 2, "num_blocks": 2, "discriminator_conv_dim": 16}),
    "relgan": Case("relgan", 64, 2, {"conv_dim": 16, "discriminator_widths": (16, 32, 64, 128)}),
    "ganimation": Case("ganimation", 64, 4, {"conv_dim": 16, "discriminator_conv_dim": 16}),
}
"""What agreement is checked on: the same code, narrower, so that it takes seconds."""


def main() -> None:
    """Read the options, measure, print a line per row."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=tuple(TITLES), help="measure this one case [the rows of the table]")
    parser.add_argument("--size", type=int, default=128, help="height of the pictures, of pix2pixHD half of their width [128]")
    parser.add_argument("--batch", type=int, help="pictures per step [16, StarGAN v2: 2, CycleGAN, pix2pixHD: 1, RelGAN: 4]")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute [auto]")
    parser.add_argument("--seconds", type=float, default=10, help="wall time per case, one round at least [10]")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows and what lies behind them")
    args = parser.parse_args()
    began = time.perf_counter()
    device = torch.device("cuda" if args.device == "auto" and torch.cuda.is_available() else args.device.replace("auto", "cpu"))
    machine = describe(device)
    results: list[Row] = []

    def measure(make: Callable[[], Row | list[Row]]) -> None:
        made = make()
        for row in made if isinstance(made, list) else [made]:
            print(f"{row}{in_words(row)}", flush=True)
            results.append(row)

    if args.recipe:
        batch = args.batch or {"stargan_v2": 2, "cyclegan": 1, "pix2pixhd": 1, "relgan": 4}.get(args.recipe, 16)
        trained, sizes = [Case(args.recipe, args.size, batch)], [Case(args.recipe, args.size, batch)]
        translated = [Case(args.recipe, args.size, batch)] if args.recipe == "stargan" else []
    else:
        # The others in float32, and their memory, take minutes more: ask for them by --recipe.
        trained, sizes, translated = TRAINING, TRAINING[:1], [TRANSLATION]
    agree({case.recipe for case in trained}, device)
    for case in trained:
        measure(lambda case=case: rows.training(case, AS_CHOSEN, machine, args.seconds))  # type: ignore[misc]
    for case in translated:
        measure(lambda case=case: rows.translation(case, AS_CHOSEN, machine, args.seconds / 3))  # type: ignore[misc]
        measure(lambda case=case: rows.translation(case, FLOAT32, machine, args.seconds / 3))  # type: ignore[misc]
    for case in sizes:
        measure(lambda case=case: rows.training(case, FLOAT32, machine, args.seconds))  # type: ignore[misc]
    for case in [] if args.no_memory else sizes:
        measure(lambda case=case: rows.memory(case, AS_CHOSEN, machine))  # type: ignore[misc]
    print(f"in {(time.perf_counter() - began) / 60:.1f} minutes")
    if args.json:
        write_json(args.json, report(machine, results))


def describe(device: torch.device) -> Machine:
    """Measure the machine's matrix ceilings and say what it is."""
    clock = Clock(device)
    ceiling = {dtype: matrix_ceiling(device, dtype, clock) for dtype in (torch.float32, torch.bfloat16)}
    rates = ", ".join(f"{str(dtype).removeprefix('torch.')} {rate / 1e12:.3g}" for dtype, rate in ceiling.items())
    print(f"{machine_name(device)}; PyTorch {torch.__version__}; clock: {clock.name}; large matrix products: {rates} TFLOP/s")
    return Machine(device, clock, ceiling)


def machine_name(device: torch.device) -> str:
    """Name the GPU, or the processor with what it multiplies in hardware and the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.split(":")[1].strip() for line in information.splitlines() if line.startswith("model name")), "")
    able = [word for word in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f" {word} " in information]
    return f"{name or platform.processor()} ({able[0] if able else platform.machine()}), {torch.get_num_threads()} threads"


def agree(recipes: set[str], device: torch.device) -> None:
    """Check losses and gradients of both sides, in float32 and in what the machine chooses."""
    for recipe in sorted(recipes):
        for way in (FLOAT32, AS_CHOSEN):
            options = dict(way.options) | {"device": device.type}
            worst = max(found.worst() for found in check(SMALL[recipe], options).values())
            how = options.get("precision", "as the machine chooses")
            print(f"{TITLES[recipe]}, {how}: losses and gradients agree (largest difference {worst:.1g})", flush=True)


def in_words(row: Row) -> str:
    """Say what lies behind a row."""
    values = row.detail
    if "ours_peak" in values:
        return f"  ({values['ours_peak'] / 2**20:,.0f} MiB against {values['published_peak'] / 2**20:,.0f})"
    words = f"  ({values['seconds']:.3g} s against {values['published_seconds']:.3g}"
    if "share_of_ceiling" in values:
        words += f"; {values['flops_per_second'] / 1e12:.3g} TFLOP/s, {values['share_of_ceiling']:.0%} of the ceiling"
    return words + ")"


def report(machine: Machine, results: list[Row]) -> dict[str, Any]:
    """Return everything as JSON values."""
    return {
        "machine": machine_name(machine.device),
        "torch": torch.__version__,
        "clock": machine.clock.name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "ceiling": {str(dtype): rate for dtype, rate in machine.ceiling.items()},
        "rows": [{"name": row.name, "ratio": row.ratio, **row.detail} for row in results],
    }


if __name__ == "__main__":
    main()
