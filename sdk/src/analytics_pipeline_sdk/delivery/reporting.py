"""Tells the application about losses and outages: in its log, and through its hook."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.delivery.backlog import Backlog

LOGGER = "analytics_pipeline_sdk"
_LOG_SECONDS = 60.0


@dataclass(frozen=True)
class Problem:
    """How many events were lost, or wait, and why; `kind` and `reason` are those of `Stats`, `away` is an outage."""

    kind: Literal["refused", "rejected", "dropped", "away"]
    reason: str
    events: int


OnError = Callable[[Problem], object]


class Reporter:
    """Used by the worker's thread, so that neither a slow log nor a slow hook is in the way of track()."""

    def __init__(self, backlog: Backlog, on_error: OnError | None) -> None:
        self._backlog = backlog
        self._on_error = on_error
        self._told: dict[tuple[str, str], int] = {}
        self._logged: dict[tuple[str, str], float] = {}
        self._away: str | None = None

    def report(self, away: str | None) -> None:
        """Tell what came since the last time; `away` is why the endpoint does not take events, if so."""
        stats = self._backlog.stats()
        problems = self._lost(stats)
        if away is not None and away != self._away:
            problems.append(Problem("away", away, stats.pending))
        self._away = away
        for problem in problems:
            self._tell(problem)

    def _lost(self, stats: Stats) -> list[Problem]:
        problems: list[Problem] = []
        kinds: tuple[Literal["refused", "rejected", "dropped"], ...] = ("refused", "rejected", "dropped")
        for kind in kinds:
            for reason, count in getattr(stats, kind).items():
                fresh = count - self._told.get((kind, reason), 0)
                self._told[kind, reason] = count
                if fresh:
                    problems.append(Problem(kind, reason, fresh))
        return problems

    def _tell(self, problem: Problem) -> None:
        key, now = (problem.kind, problem.reason), time.monotonic()
        if now - self._logged.get(key, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged[key] = now
            text = "the endpoint takes no events (%s); %d wait" if problem.kind == "away" else "%s (%s): %d events"
            values = (problem.reason, problem.events) if problem.kind == "away" else (*key, problem.events)
            logging.getLogger(LOGGER).warning(text, *values)
        if self._on_error is not None:
            try:
                self._on_error(problem)
            except Exception:  # noqa: BLE001 - a hook's failure is counted and harms nothing
                with self._backlog.hold:
                    self._backlog.ledger.hook_errors += 1
