"""Whom a statement runs for, and what it costs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tag:
    """The purpose of a statement. As `log_comment` it joins `system.query_log` to flows, tenants and Dagster runs."""

    flow: str
    step: str
    organisation_id: int | None = None
    project_id: int | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        parts = ["analytics_pipeline", self.flow, self.step]
        parts += [] if self.organisation_id is None else [f"org_{self.organisation_id}"]
        parts += [] if self.project_id is None else [f"project_{self.project_id}"]
        parts += [] if self.run_id is None else [f"run_{self.run_id}"]
        return ":".join(parts)


@dataclass
class Cost:
    """Cost of statements so far, as the server reports it: rows, bytes and seconds of elapsed time."""

    statements: int = 0
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    seconds: float = 0.0

    def add(self, summary: Mapping[str, Any]) -> None:
        self.statements += 1
        self.read_rows += int(summary.get("read_rows", 0))
        self.read_bytes += int(summary.get("read_bytes", 0))
        self.written_rows += int(summary.get("written_rows", 0))
        self.written_bytes += int(summary.get("written_bytes", 0))
        self.seconds += int(summary.get("elapsed_ns", 0)) / 1e9


def summary_of(answer: object) -> Mapping[str, Any]:
    """The server's own summary of a statement, from the headers of its answer; empty where it sends none."""
    headers: Mapping[str, str] = getattr(answer, "headers", {})
    return dict(json.loads(headers.get("X-ClickHouse-Summary", "{}")))
