"""Make the bundled model `asterism/sample/demo.safetensors` from a run of Aster.

    asterism train aster --preset small --data avatars_adventurer --out runs/bundled SETTINGS
    python tools/make_demo_model.py runs/bundled asterism/sample/demo.safetensors

docs/aster.md has the SETTINGS and what came of them. The networks that use needs are kept, the generator and the discriminator
with its class head, both in float16: half the bytes. For that, edits of the bundled drawings differ by at most 0.2 of a step of
8 bits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from asterism.evaluation.checkpoints import chosen
from asterism.storage.model_file import find_model, read_tensors, write_tensors

KEPT = ("generator", "discriminator")
LICENCE = 'MIT; trained on "Adventurer" by Lisa Wischofsky, CC BY 4.0, drawn with DiceBear (MIT)'


def make(run: Path, out: Path) -> int:
    """Write the bundled model, of the run's last checkpoint, and return its bytes."""
    ((_, step, recipe),) = chosen(run, "last", torch.device("cpu"))[1]
    _, facts = read_tensors(find_model(run))
    tensors = {key: t.to(torch.float16) for key, t in recipe.state_dict().items() if key.partition(".")[0] in KEPT}
    config = facts["config"] | {"coarse": 0}  # Coarse steps have a discriminator of their own.
    info = {key: facts["info"][key] for key in ("data", "preset", "version")} | {"step": step, "licence": LICENCE}
    facts.pop("format")
    write_tensors(out, tensors, {**facts, "config": config, "networks": list(KEPT), "info": info})
    return out.stat().st_size


def main() -> None:
    """Make the model and print what it weighs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of aster")
    parser.add_argument("out", type=Path, help="the file to write")
    args = parser.parse_args()
    print(f"{args.out}: {make(args.run, args.out) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
