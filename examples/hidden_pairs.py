"""Make two folders without pairs of a set whose pairs are known, to measure what is learned without them.

    python examples/hidden_pairs.py EMOJI fluent_flat fluent_highcontrast OUT
    asterism train cyclegan --preset small --data OUT --out runs/cyclegan
    asterism evaluate runs/cyclegan --protocol pairs

EMOJI holds `manifest.csv` with the columns `file`, `domain`, `split` and `pair_id`. Of every other thing only the picture of
one domain trains, of the rest only that of the other, so that no recipe can meet a pair; validation and test pictures keep
theirs. It needs Python alone.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path


def main() -> None:
    """Copy the pictures, and write the table that says which belong together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with manifest.csv")
    parser.add_argument("domains", nargs=2, metavar="DOMAIN", help="two of its domains")
    parser.add_argument("out", type=Path, help="where to write pictures and manifest.csv")
    options = parser.parse_args()

    with open(options.data / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] in options.domains]
    if len({row["domain"] for row in rows}) < 2:
        parser.error(f"{options.data / 'manifest.csv'} does not hold both domains {' and '.join(options.domains)}")
    things = sorted({row["pair_id"] for row in rows if row["split"] == "train"})
    trains = {(thing, options.domains[place % 2]) for place, thing in enumerate(things)}
    kept = [row for row in rows if row["split"] != "train" or (row["pair_id"], row["domain"]) in trains]
    for row in kept:
        target = options.out / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.data / row["file"], target)
    with open(options.out / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", "domain", "split", "pair_id"], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    print(f"{len(kept)} pictures in {options.out}, {len(trains)} of them for training")


if __name__ == "__main__":
    main()
