"""One look at a feature: record what its switches say, follow its open histories, tell which runs to ask for.

Nothing is remembered between two looks but the ledger. Losing a look, or having two at once, changes nothing: the next
one derives the same, and a history that is asked for twice is claimed once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone

from openfeature.client import OpenFeatureClient

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.enablement.epochs import Attempt, Epoch, Opening, Run, changes, next_action
from analytics_pipeline.flows.enablement.feature import Feature, Progress, RunConfig
from analytics_pipeline.flows.enablement.ledger import EnablementLedger, PlannedEpoch
from analytics_pipeline.flows.failures import reason_and_place
from analytics_pipeline.flows.held_days import note_losses
from analytics_pipeline.resources.clickhouse.connection import glance
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

# Spreads a burst, such as a flag that goes on for every organisation at once, over looks.
EPOCHS_PER_TICK = 50

RunsOf = Callable[[Attempt], Sequence[Run]]


@dataclass(frozen=True)
class WantedRun:
    """A run to launch: the attempt that it works for, its assets, its days (both inclusive) and its configuration.

    One that is about the past may wait for those that are about the present.
    """

    attempt: Attempt
    assets: tuple[str, ...]
    first_day: date
    last_day: date
    config: RunConfig
    is_about_the_past: bool


@dataclass
class Outcome:
    """Findings of a look: runs to ask for and under way, histories that are complete now, and those given up now.

    `on` is how many scopes are switched on, `epochs` and `rows` are those of all histories that there ever were.
    """

    on: int = 0
    epochs: int = 0
    rows: int = 0
    requests: list[WantedRun] = field(default_factory=list)
    under_way: int = 0
    completed: list[Epoch] = field(default_factory=list)
    given_up: list[Epoch] = field(default_factory=list)


@contextmanager
def _alone(feature: Feature, scope: str) -> Iterator[None]:
    """The trouble of one scope is logged and stops no other; it is looked at again with the next tick."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the other scopes go on
        logger.warning("%s %s could not be looked at: %s", feature.name, scope, reason_and_place(error))


@dataclass(frozen=True)
class Tick:
    """Looks at features. `runs_of` tells which runs were launched for an attempt."""

    settings: Settings
    postgres: Postgres
    flags: OpenFeatureClient
    runs_of: RunsOf

    @property
    def ledger(self) -> EnablementLedger:
        return EnablementLedger(self.postgres)

    def look_at(self, feature: Feature) -> Outcome:
        """Observe and follow one feature.

        Raises:
            NotConfigured: a store that the feature needs has no address; nothing was recorded.
            LeaseHeld: another daemon is observing.
            ConnectionError: ClickHouse does not answer; what the switches say was recorded.
        """
        for store, setting in feature.stores:
            if getattr(self.settings, setting) is None:
                raise NotConfigured(store, setting.upper())
        with self.ledger.observing():
            outcome = Outcome(on=self._observe(feature))
            unfinished = self.ledger.unfinished(feature.name, EPOCHS_PER_TICK)
            if unfinished:
                self._note_losses(feature)
            for epoch in unfinished:
                with _alone(feature, epoch.scope):
                    self._follow(feature, epoch, outcome)
        totals = self.ledger.totals(feature.name).values()
        outcome.epochs, outcome.rows = sum(one.epochs for one in totals), sum(one.rows for one in totals)
        if feature.is_shared:
            outcome.requests = [] if outcome.under_way else outcome.requests[:1]
        return outcome

    def _note_losses(self, feature: Feature) -> None:
        """Takes the days that ClickHouse has lost out of a history; the ledgers do not know of the loss."""
        with glance(self.settings, feature.name) as clickhouse:
            for table in feature.tables:
                note_losses(self.postgres, clickhouse, table)

    def _observe(self, feature: Feature) -> int:
        """Record which scopes are on; returns how many."""
        switched_on = feature.switched_on(self.postgres, self.flags)
        # A zone that was recorded long ago may have another name today.
        newest = {
            scope: replace(epoch, setting=feature.canonical_setting(epoch.setting))
            for scope, epoch in self.ledger.newest(feature.name).items()
        }
        seen = changes(switched_on, newest)
        planned: list[PlannedEpoch] = []
        for opening in seen.open[:EPOCHS_PER_TICK]:
            with _alone(feature, opening.scope):
                planned.append(self._planned(feature, opening))
        self.ledger.record(feature.name, seen, planned)
        return len(switched_on)

    def _planned(self, feature: Feature, opening: Opening) -> PlannedEpoch:
        """The days of the epoch's history; those before ANALYTICS_START_DATE have no partition.

        Which of them are missing is asked of the ledgers with every look, and only those are asked for.
        """
        named = (opening.scope, opening.epoch, opening.setting, opening.from_scratch)
        found = feature.history(self.postgres, opening.scope, opening.setting)
        if found is None:
            return PlannedEpoch(*named, None, None, None)
        first, last = found
        wanted = max(first, self.settings.start_of(feature.name))
        if first < self.settings.start_of(feature.name):
            logger.warning(
                "%s %s: the history begins on %s, but only days from ANALYTICS_START_DATE (%s) on are brought in",
                *(feature.name, opening.scope, first, self.settings.start_of(feature.name)),
            )
        days = (wanted, last) if wanted <= last else (None, None)
        return PlannedEpoch(*named, first, *days)

    def _follow(self, feature: Feature, epoch: Epoch, outcome: Outcome) -> None:
        # The runs before their traces: what has ended has left all of them.
        runs = self.runs_of(epoch.current_attempt)
        outcome.under_way += any(not run.has_ended for run in runs)
        progress = feature.progress(self.postgres, epoch)
        # The start date may have been moved into a history: days before it have no partition any more.
        start = self.settings.start_of(feature.name)
        missing = [day for day in epoch.days if day not in progress.days and day >= start]
        action = next_action(epoch, runs, is_complete=not missing, now=self.ledger.now())
        if action == "complete" and self.ledger.complete(epoch, self._rows(feature, epoch, progress)):
            outcome.completed.append(epoch)
        elif action == "fail":
            self._fail(epoch, runs, outcome)
        elif action == "ask":
            outcome.requests.append(self._request(feature, epoch, missing))

    def _rows(self, feature: Feature, epoch: Epoch, progress: Progress) -> int:
        """The rows that the history has brought in for its scope: those of its days hold others' as well."""
        if feature.own_rows is None or not progress.days:
            return progress.rows
        with glance(self.settings, feature.name) as clickhouse:
            days = min(progress.days), max(progress.days)
            return feature.own_rows(clickhouse, epoch.scope, epoch.setting, days)

    def _fail(self, epoch: Epoch, runs: Sequence[Run], outcome: Outcome) -> None:
        """Counts failures that the run-failure sensor does not hear of: runs cancelled, vanished or without effect."""
        statuses = ", ".join(f"{run.run_id} {run.status}" for run in runs) or f"{epoch.run_id} unknown to Dagster"
        error = f"the run ended, or fell silent, before its history was complete ({statuses})"
        now = self.ledger.fail(epoch.current_attempt, epoch.run_id, error)
        if now and now.state == "failed":
            outcome.given_up.append(now)

    def _request(self, feature: Feature, epoch: Epoch, missing: Sequence[date]) -> WantedRun:
        today = datetime.now(timezone.utc).date()
        if feature.follows_today and missing[-1] < today:
            self.ledger.move(epoch, today)
            missing = [today]
        config = feature.config(self.postgres, epoch.scope)
        first = max(missing[0] - feature.margin, self.settings.start_of(feature.name))
        last = min(missing[-1] + feature.margin, today)
        return WantedRun(epoch.current_attempt, feature.assets, first, last, config, not feature.follows_today)
