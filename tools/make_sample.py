"""Make the bundled sample `asterism/sample/avatars` from the full set of drawn avatars.

    python tools/make_sample.py FULL_SET asterism/sample/avatars

FULL_SET holds `manifest.csv` (columns file, split, identity, then the labels) and the pictures. Whole test identities are
kept, with every combination of their labels, so that each edit of a test picture has its true picture. The result is a
function of the input and the options; attribution is in the LICENSE.md beside the sample, which this script leaves alone.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image

LABELS = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair", "Gray_Hair", "Eyeglasses", "Smiling", "Mustache")
COLUMNS = ("file", "split", "identity", *LABELS)
Row = dict[str, str]


def choose(rows: list[Row], train: int, val: int, identities: int) -> list[Row]:
    """Return the first `train` and `val` pictures and every test picture of `identities` evenly chosen identities.

    Args:
        rows: the manifest's rows, in order.

    Raises:
        ValueError: the full set holds fewer than asked for.
    """
    of = {split: [row for row in rows if row["split"] == split] for split in ("train", "val", "test")}
    names = sorted({row["identity"] for row in of["test"]})
    for held, wanted, what in ((len(of["train"]), train, "training"), (len(of["val"]), val, "validation")):
        if held < wanted:
            raise ValueError(f"{wanted} {what} pictures are wanted, the full set holds {held}")
    if not 0 < identities <= len(names):
        raise ValueError(f"{identities} test identities are wanted, the full set holds {len(names)}")
    kept = {names[i * len(names) // identities] for i in range(identities)}
    return of["train"][:train] + of["val"][:val] + [row for row in of["test"] if row["identity"] in kept]


def shrink(source: Path, target: Path, size: int, quality: int) -> int:
    """Write `source` as a JPEG of size x size pixels, colour at full resolution; return its bytes."""
    with Image.open(source) as picture:
        small = picture.convert("RGB").resize((size, size), Image.Resampling.BOX)
    target.parent.mkdir(parents=True, exist_ok=True)
    small.save(target, quality=quality, subsampling=0, optimize=True)
    return target.stat().st_size


def main() -> None:
    """Make the sample and print what it weighs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the full set")
    parser.add_argument("out", type=Path, help="where to write the sample")
    parser.add_argument("--size", type=int, default=64, help="side of a picture in pixels (default 64)")
    parser.add_argument("--quality", type=int, default=80, help="JPEG quality (default 80)")
    parser.add_argument("--train", type=int, default=1200, help="training pictures, one identity each (default 1200)")
    parser.add_argument("--val", type=int, default=40, help="validation pictures, one identity each (default 40)")
    parser.add_argument("--test-identities", type=int, default=12, help="test identities, all combinations each (default 12)")
    options = parser.parse_args()

    with open(options.source / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = choose(list(csv.DictReader(file)), options.train, options.val, options.test_identities)
    total = sum(shrink(options.source / r["file"], options.out / r["file"], options.size, options.quality) for r in rows)
    with open(options.out / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} pictures, {total / 1e6:.2f} MB, {total / len(rows):.0f} bytes each, in {options.out}")


if __name__ == "__main__":
    main()
