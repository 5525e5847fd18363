"""What is done of a job over many files, kept beside its results, so that the same command does only the rest.

It is a folder of small files, since stores append to none: `job.json`, what the job is, and `done-....jsonl`, a line per source
that is done.
"""

from __future__ import annotations

import json
import time
from typing import Any

from asterism.batch.stores import Place
from asterism.inference.outcome import FolderError

FOLDER = ".asterism-batch"
FLUSH_SECONDS = 5.0
"""Between writes. Beside what was noted since, pieces that Ray still holds are done again after the process was killed."""


class Manifest:
    """The manifest of a place.

    Args:
        place: where the results are.
        job: what must be the same for what is done to count: the model, the targets, the options.
        anew: forget what was done.
        beside: results may be written beside files that no manifest knows.

    Raises:
        FolderError: the place holds another job's results, or files and no manifest.
    """

    def __init__(self, place: Place, job: dict[str, Any], *, anew: bool = False, beside: bool = False) -> None:
        self.place, self._held, self._saved = place, list[str](), time.monotonic()
        names = place.names()
        own = {name for name in names if name.startswith(f"{FOLDER}/")}
        self.there = names - own
        parts = sorted(own - {f"{FOLDER}/job.json"})
        if anew:
            for name in sorted(own):
                place.remove(name)
            own, parts = set(), []
        if f"{FOLDER}/job.json" in own:
            _check_same(place, json.loads(place.read(f"{FOLDER}/job.json")), job)
        else:
            if self.there and not (anew or beside):
                raise FolderError(
                    f"{place.address} holds files already, such as {min(self.there)}, and no manifest of this job: give "
                    "another --out, or say --overwrite"
                )
            place.write(f"{FOLDER}/job.json", (json.dumps(job, indent=2) + "\n").encode())
        self._parts = len(parts)
        lines = [line for name in parts for line in place.read(name).decode("ascii").splitlines()]
        self.records = {record["source"]: record for record in map(json.loads, lines)}

    def has(self, source: str, state: str) -> bool:
        """Say whether a source is done, as it is now, and all of its results are there."""
        record = self.records.get(source)
        return record is not None and record["state"] == state and self.there.issuperset(record["results"])

    def add(self, source: str, state: str, results: list[str]) -> None:
        """Note that a source is done; kept at the latest some seconds after."""
        self._held.append(json.dumps({"source": source, "state": state, "results": results}))
        if time.monotonic() - self._saved > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Keep all that was noted."""
        if self._held:
            self.place.write(f"{FOLDER}/done-{self._parts:06}.jsonl", ("\n".join(self._held) + "\n").encode("ascii"))
            self._parts, self._held = self._parts + 1, []
        self._saved = time.monotonic()


def _check_same(place: Place, held: dict[str, Any], job: dict[str, Any]) -> None:
    differing = [f"{key} ({held.get(key)} there, {job.get(key)} now)" for key in job if held.get(key) != job[key]]
    if differing:
        raise FolderError(
            f"{place.address} holds the results of another job, which differs in {', '.join(differing)}: give another --out, "
            "or say --overwrite to do all of it anew"
        )
