"""Numbers about a running service, in the text format that Prometheus reads."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of answer times, in seconds."""


class Metrics:
    """Counters of a service; every method may be called from any thread.

    Args:
        gauges: name -> (help, function that reads the current value).
    """

    def __init__(self, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._lock = threading.Lock()
        self._gauges = gauges
        self._answers: Counter[tuple[str, int]] = Counter()
        self._pictures: Counter[str] = Counter()
        self._seconds = [0] * (len(BUCKETS) + 1)
        self._seconds_sum = 0.0
        self._batches = self._batched = 0
        self._device_seconds = 0.0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is the template of its path, never the path itself, so that the names stay few."""
        with self._lock:
            self._answers[route, status] += 1
            if route.endswith("/translate") and status < 300:
                self._seconds[bisect_left(BUCKETS, seconds)] += 1
                self._seconds_sum += seconds

    def translated(self, model: str, pictures: int) -> None:
        """Count results that were made."""
        with self._lock:
            self._pictures[model] += pictures

    def batch(self, pictures: int, seconds: float) -> None:
        """Count a batch of the device."""
        with self._lock:
            self._batches += 1
            self._batched += pictures
            self._device_seconds += seconds

    def text(self) -> str:
        """Return all of it, version 0.0.4 of the text format."""
        with self._lock:
            lines = _head("asterism_answers_total", "counter", "HTTP answers by route and status.")
            for (route, status), count in sorted(self._answers.items()):
                lines.append(f'asterism_answers_total{{route="{_escape(route)}",status="{status}"}} {count}')
            lines += _head("asterism_results_total", "counter", "Translations made, by model.")
            for model, count in sorted(self._pictures.items()):
                lines.append(f'asterism_results_total{{model="{_escape(model)}"}} {count}')
            lines += _head(
                "asterism_translate_seconds", "histogram", "Time from a request's head to its answer, successes only."
            )
            total = 0
            for bound, count in zip((*BUCKETS, "+Inf"), self._seconds, strict=True):
                total += count
                lines.append(f'asterism_translate_seconds_bucket{{le="{bound}"}} {total}')
            lines += [f"asterism_translate_seconds_sum {self._seconds_sum:.6f}", f"asterism_translate_seconds_count {total}"]
            for name, help_, value in (
                ("asterism_batches_total", "Batches that the device translated.", self._batches),
                ("asterism_batched_results_total", "Translations in these batches.", self._batched),
                (
                    "asterism_device_seconds_total",
                    "Time that the device's thread spent on them.",
                    round(self._device_seconds, 6),
                ),
            ):
                lines += [*_head(name, "counter", help_), f"{name} {value}"]
        for name, (help_, read) in self._gauges.items():
            lines += [*_head(name, "gauge", help_), f"{name} {read():g}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> float:
    """Return the memory that this process holds, in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0.0


def _head(name: str, kind: str, help_: str) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
