"""Metrics of the ingestion service for Prometheus; of all its workers when there are several."""

import os
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """Counts of one worker. Labels are of few values: never a token, an organisation or an event's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter("analytics_ingest_events", "Events by verdict", ["verdict"], registry=self.registry)
        self.requests = Counter("analytics_ingest_requests", "Requests by status", ["status"], registry=self.registry)
        self.commits = Histogram(
            "analytics_ingest_commit_seconds", "Time of a commit to the stores", registry=self.registry
        )
        self.rows = Histogram(
            "analytics_ingest_commit_events",
            "Events of a commit",
            buckets=(1, 10, 100, 1_000, 10_000),
            registry=self.registry,
        )
        self.failures = Counter(
            "analytics_ingest_commit_failures", "Commits that a store did not take", registry=self.registry
        )
        self.waiting = Gauge(
            "analytics_ingest_events_waiting",
            "Events that wait to be stored",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def count(self, verdicts: Mapping[str, int]) -> None:
        """Count events of a request by verdict."""
        for verdict, number in verdicts.items():
            self.events.labels(verdict).inc(number)

    def shown(self) -> bytes:
        """All of them in the text format of Prometheus."""
        if SHARED_DIRECTORY not in os.environ:
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return generate_latest(every)
