"""Prometheus metrics of a running service."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the response time histogram, in seconds."""


class Metrics:
    """Counters of one service; every method may be called from any thread.

    Args:
        places: results that may be waiting or in work.
        taken: returns how many are.
    """

    def __init__(self, places: int, taken: Callable[[], float]) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # process_resident_memory_bytes and its kin.
        self._answers = Counter(
            "asterism_answers", "HTTP responses by route and status.", ("route", "status"), registry=registry
        )
        self._results = Counter("asterism_results", "Translations made, by model.", ("model",), registry=registry)
        self._seconds = Histogram(
            "asterism_translate_seconds",
            "Time from a request's header to its response, successes only.",
            buckets=BUCKETS,
            registry=registry,
        )
        self._batches = Counter("asterism_batches", "Batches that the device translated.", registry=registry)
        self._batched = Counter("asterism_batched_results", "Translations in these batches.", registry=registry)
        self._device = Counter("asterism_device_seconds", "Time that the device's thread spent on them.", registry=registry)
        Gauge("asterism_places", "Results that may be waiting or in progress.", registry=registry).set(places)
        Gauge("asterism_places_taken", "Results that are waiting or in progress.", registry=registry).set_function(taken)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; `route` is the template of its path, never the path itself, so that the names stay few."""
        self._answers.labels(route, status).inc()
        if route.endswith(("/translate", "/convert")) and status < 300:
            self._seconds.observe(seconds)

    def translated(self, model: str, pictures: int) -> None:
        """Count results that were made."""
        self._results.labels(model).inc(pictures)

    def batch(self, pictures: int, seconds: float) -> None:
        """Count a batch of the device."""
        self._batches.inc()
        self._batched.inc(pictures)
        self._device.inc(seconds)

    def text(self) -> bytes:
        """Return all of it in the text format."""
        return generate_latest(self.registry)
