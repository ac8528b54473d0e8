"""The ledger `enablements`. Every change is a conditional statement, so that it happens once however often it is tried.

None of them trusts what was read before: each names the state that it starts from, and tells whether it did anything.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import class_row
from typing_extensions import LiteralString

from analytics_pipeline.flows.enablement.epochs import ATTEMPTS, DEAD, FIRST_PAUSE, Attempt, Changes, Epoch
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class PlannedEpoch:
    """An epoch to open with the days of its history, both inclusive; None: there is none."""

    scope: str
    epoch: int
    setting: str
    from_scratch: bool
    source_first_day: date | None
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True)
class Totals:
    """How often a scope was switched on, and the rows of all its complete histories.

    A day that several epochs have brought in counts several times.
    """

    epochs: int
    rows: int


@dataclass(frozen=True)
class EnablementLedger:
    """The ledger of all features, in our schema of the application's database."""

    postgres: Postgres

    @contextmanager
    def observing(self) -> Iterator[None]:
        """One observer at a time: what was read of the switches is recorded before anybody reads them again.

        Raises:
            LeaseHeld: another daemon is observing.
        """
        with self.postgres.lease("enablement"):
            yield

    def now(self) -> datetime:
        """The time on the clock that writes the ledger: this machine's may be another."""
        ((now,),) = self.postgres.ledgers.query("SELECT now()")
        assert isinstance(now, datetime)
        return now

    def newest(self, feature: str) -> dict[str, Epoch]:
        """The newest epoch of each scope of the feature, open or closed."""
        return {epoch.scope: epoch for epoch in self._select(_NEWEST, feature=feature)}

    def all(self) -> list[Epoch]:
        """The newest epoch of every scope of every feature."""
        return self._select(_NEWEST, feature=None)

    def totals(self, feature: str | None = None) -> dict[tuple[str, str], Totals]:
        """Rows and days that all epochs of each (feature, scope) have brought in; of one feature when it is named."""
        rows = self.postgres.query(_TOTALS, feature=feature)
        return {(name, scope): Totals(*counts) for name, scope, *counts in rows}

    def unfinished(self, feature: str, limit: int) -> list[Epoch]:
        """Open epochs whose history is not complete: the longest waiting first, those that failed last."""
        return self._select(_UNFINISHED, feature=feature, limit=limit)

    def record(self, feature: str, observed: Changes, planned: Sequence[PlannedEpoch]) -> None:
        """Close, open and see what was observed, all of it or nothing. Recording it twice changes nothing."""
        with self.postgres.ledgers.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(_CLOSE, [_key(epoch) for epoch in observed.close])
            cursor.execute(_SEE, {"feature": feature, "scopes": [epoch.scope for epoch in observed.seen]})
            cursor.executemany(
                _OPEN, [{**vars(epoch), "feature": feature, "last_attempt": ATTEMPTS} for epoch in planned]
            )

    def move(self, epoch: Epoch, day: date) -> None:
        """The work is about the present, and the day that was asked for has passed."""
        self._change(_MOVE, epoch.current_attempt, day=day)

    def claim(self, attempt: Attempt, run_id: str) -> bool:
        """Let the run work on the attempt. Only one does, and a run that died is followed once it is silent."""
        return self._change(_CLAIM, attempt, run_id=run_id, dead=DEAD) is not None

    def beat(self, attempt: Attempt, run_id: str) -> bool:
        """The run is alive; False when the attempt is no longer its own."""
        return self._change(_BEAT, attempt, run_id=run_id) is not None

    def complete(self, epoch: Epoch, rows: int) -> bool:
        """Every unit of the history is in its own ledger."""
        return self._change(_COMPLETE, epoch.current_attempt, rows=rows) is not None

    def fail(self, attempt: Attempt, run_id: str, error: str) -> Epoch | None:
        """The attempt has ended without the history: to be tried again after a pause, or given up.

        Returns the epoch as it is now, or None when the attempt was not the current one of this run.
        """
        return self._change(_FAIL, attempt, run_id=run_id, error=error, pause=FIRST_PAUSE, attempts=ATTEMPTS)

    def retry(self, feature: str, scope: str) -> Epoch | None:
        """Give a history that was given up new attempts, for what it still lacks; None when there is none such."""
        return self._first(_RETRY, feature=feature, scope=scope, attempts=ATTEMPTS)

    def reset(self, feature: str, scope: str) -> Epoch | None:
        """Close the newest epoch such that the next one asks for the whole history; None when there is none."""
        return self._first(_RESET, feature=feature, scope=scope)

    def _change(self, statement: LiteralString, attempt: Attempt, **parameters: Any) -> Epoch | None:
        return self._first(statement, **vars(attempt), **parameters)

    def _first(self, statement: LiteralString, **parameters: Any) -> Epoch | None:
        return next(iter(self._select(statement, **parameters)), None)

    def _select(self, statement: LiteralString, **parameters: Any) -> list[Epoch]:
        with self.postgres.ledgers.connect() as connection, connection.cursor(row_factory=class_row(Epoch)) as cursor:
            return cursor.execute(statement, parameters).fetchall()


def _key(epoch: Epoch) -> dict[str, Any]:
    return {"feature": epoch.feature, "scope": epoch.scope, "epoch": epoch.epoch}


_NEWEST = """
    SELECT DISTINCT ON (feature, scope) * FROM analytics_pipeline.enablements
    WHERE feature = coalesce(%(feature)s, feature)
    ORDER BY feature, scope, epoch DESC
"""

_TOTALS = """
    SELECT feature, scope, count(*), coalesce(sum(rows), 0)::bigint FROM analytics_pipeline.enablements
    WHERE feature = coalesce(%(feature)s, feature)
    GROUP BY feature, scope
"""

_UNFINISHED = """
    SELECT * FROM analytics_pipeline.enablements
    WHERE feature = %(feature)s AND closed_at IS NULL AND state <> 'completed'
    ORDER BY state = 'failed', next_attempt_at, scope
    LIMIT %(limit)s
"""

_CLOSE = """
    UPDATE analytics_pipeline.enablements SET closed_at = now()
    WHERE feature = %(feature)s AND scope = %(scope)s AND epoch = %(epoch)s AND closed_at IS NULL
"""

# Rarely, so that a thousand scopes that stay on are not a thousand updates a tick.
_SEE = """
    UPDATE analytics_pipeline.enablements SET seen_on_at = now()
    WHERE feature = %(feature)s AND scope = ANY(%(scopes)s) AND closed_at IS NULL
        AND seen_on_at < now() - interval '10 minutes'
"""

_OPEN = """
    INSERT INTO analytics_pipeline.enablements (
        feature, scope, epoch, setting, from_scratch, source_first_day, first_day, last_day, last_attempt
    )
    VALUES (
        %(feature)s, %(scope)s, %(epoch)s, %(setting)s, %(from_scratch)s, %(source_first_day)s, %(first_day)s,
        %(last_day)s, %(last_attempt)s
    )
    ON CONFLICT DO NOTHING
"""

_MOVE = """
    UPDATE analytics_pipeline.enablements SET first_day = %(day)s, last_day = %(day)s
    WHERE feature = %(feature)s AND scope = %(scope)s AND epoch = %(epoch)s AND attempt = %(number)s
        AND closed_at IS NULL AND state = 'requested'
    RETURNING *
"""

_CLAIM = """
    UPDATE analytics_pipeline.enablements
    SET state = 'running', run_id = %(run_id)s, heartbeat_at = now(), started_at = coalesce(started_at, now())
    WHERE feature = %(feature)s AND scope = %(scope)s AND epoch = %(epoch)s AND attempt = %(number)s
        AND closed_at IS NULL
        AND (
            state = 'requested'
            OR (state = 'running' AND (run_id = %(run_id)s OR heartbeat_at < now() - %(dead)s::interval))
        )
    RETURNING *
"""

_BEAT = """
    UPDATE analytics_pipeline.enablements SET heartbeat_at = now()
    WHERE feature = %(feature)s AND scope = %(scope)s AND epoch = %(epoch)s AND attempt = %(number)s
        AND closed_at IS NULL AND state = 'running' AND run_id = %(run_id)s
    RETURNING *
"""

_COMPLETE = """
    UPDATE analytics_pipeline.enablements
    SET state = 'completed', completed_at = now(), rows = %(rows)s, error = ''
    WHERE feature = %(feature)s AND scope = %(scope)s AND epoch = %(epoch)s AND closed_at IS NULL
        AND state <> 'completed'
    RETURNING *
"""

# A run that never claimed the attempt must not fail the one that did.
_FAIL = """
    UPDATE analytics_pipeline.enablements
    SET state = CASE WHEN attempt < last_attempt THEN 'requested' ELSE 'failed' END,
        attempt = least(attempt + 1, last_attempt),
        next_attempt_at = now()
            + %(pause)s::interval * power(2, greatest(attempt - (last_attempt - %(attempts)s) - 1, 0)),
        error = %(error)s
    WHERE feature = %(feature)s AND scope = %(scope)s AND epoch = %(epoch)s AND attempt = %(number)s
        AND closed_at IS NULL
        AND (state = 'requested' OR (state = 'running' AND run_id = %(run_id)s))
    RETURNING *
"""

_RETRY = """
    UPDATE analytics_pipeline.enablements
    SET state = 'requested', attempt = attempt + 1, last_attempt = attempt + %(attempts)s, next_attempt_at = now()
    WHERE feature = %(feature)s AND scope = %(scope)s AND closed_at IS NULL AND state = 'failed'
    RETURNING *
"""

_RESET = """
    UPDATE analytics_pipeline.enablements SET is_reset = true, closed_at = coalesce(closed_at, now())
    WHERE (feature, scope, epoch) = (
        SELECT feature, scope, max(epoch) FROM analytics_pipeline.enablements
        WHERE feature = %(feature)s AND scope = %(scope)s GROUP BY feature, scope
    )
    RETURNING *
"""
