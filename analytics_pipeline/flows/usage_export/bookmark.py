"""Moves a sink's bookmark: with the record that the receiver has what came before it, and never otherwise.

A batch is recorded before it is sent, so that one that was not acknowledged is made of the same events again, whatever
else was committed meanwhile. The bookmark moves with the record of the acknowledgement, in one transaction.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from analytics_pipeline.flows.dead_letters import DeadLetter, add_dead_letters
from analytics_pipeline.flows.usage_export import gaps
from analytics_pipeline.flows.usage_export.deliveries import Kind, begin, complete
from analytics_pipeline.flows.usage_export.errors import Paused, Superseded
from analytics_pipeline.flows.usage_export.ledger import Sending, State, state_of
from analytics_pipeline.flows.usage_export.records import Plan
from analytics_pipeline.resources.postgres import Connection
from analytics_pipeline.resources.sinks.base import Refusal

FLOW = "usage_export"
# The first pause after a failure doubles with each in a row, up to the longest; the random part keeps sinks apart.
FIRST_PAUSE, LONGEST_PAUSE, JITTER = timedelta(seconds=5), timedelta(minutes=5), 0.2


@dataclass(frozen=True)
class Outcome:
    """The end of a batch: records that the receiver has, bytes over the wire, and what will never be taken."""

    records: int
    sent_bytes: int
    refused: Sequence[Refusal]


@dataclass(frozen=True)
class Bookmark:
    """One sink's bookmark, moved by one run on a connection of its own to the ledgers, in autocommit."""

    connection: Connection
    sink: str
    run_id: str

    def state(self) -> State | None:
        """The sink's row as it is now."""
        return state_of(self.connection, self.sink)

    def advance(
        self,
        done: Sending | None,
        outcome: Outcome | None,
        plan: Plan | None,
        kind: Kind = "live",
        past: int | None = None,
    ) -> Sending | None:
        """Record what became of the batch `done`, and in the same transaction the one that is sent next.

        A plan without records moves the bookmark, and nothing is to be sent.

        Raises:
            Superseded: another run has gone on with this sink; nothing was recorded.
            Paused: the sink was paused meanwhile; the end of `done` was recorded, and nothing is to be sent.
        """
        with self.connection.transaction():
            is_paused = self._hold(done).paused_at is not None
            if done and outcome:
                self._finish(done, outcome)
            if plan is None:
                return None
            if not is_paused:
                return self._begin(plan, kind, past)
        raise Paused(f"the sink {self.sink} was paused; the rest waits for: analytics-pipeline export resume")

    def _begin(self, plan: Plan, kind: Kind, past: int | None) -> Sending | None:
        """Pass what the plan found, and record the batch that it makes, if it makes one."""
        gaps.add(self.connection, self.sink, plan.gaps, plan.open_until)
        gaps.fill(self.connection, self.sink, plan.found, plan.open_until)
        if not plan.records:
            self._move(plan.to, past)
            return None
        return Sending(begin(self.connection, self.sink, kind, plan, past), plan.ids, plan.to, past)

    def fail(self, sending: Sending, error: str, retry_after: float | None) -> int:
        """Record that the batch was not acknowledged: it is sent again, later each time; returns failures in a row."""
        with self.connection.transaction():
            state = self._hold(sending)
            failures = state.consecutive_failures + 1
            pause = pause_after(failures, retry_after)
            self.connection.execute(_FAIL, [failures, error, pause, self.sink])
            self.connection.execute(_FAIL_DELIVERY, [error, sending.delivery])
        return failures

    def again(self, sending: Sending) -> None:
        """Record that a batch is sent once more."""
        with self.connection.transaction():
            self._hold(sending)
            self.connection.execute(_AGAIN, [sending.delivery])

    def _hold(self, done: Sending | None) -> State:
        state = state_of(self.connection, self.sink, hold=True)
        if state is None or (state.sending and state.sending.delivery) != (done and done.delivery):
            raise Superseded(f"another run has gone on with the sink {self.sink}; this one has recorded nothing more")
        return state

    def _finish(self, done: Sending, outcome: Outcome) -> None:
        letters = [DeadLetter(str(one.event_log_id), one.reason, "") for one in outcome.refused]
        if done.past is not None:
            # What could not be sent once has been sent again.
            self.connection.execute(_FORGET_LETTERS, [FLOW, self.sink, done.ids])
        if letters:
            add_dead_letters(self.connection, FLOW, self.sink, letters, self.run_id)
        complete(self.connection, done.delivery, outcome.records, len(letters), outcome.sent_bytes)
        bookmark = done.to if done.past is None else None
        self.connection.execute(_SUCCEED, [outcome.records, len(letters), bookmark, self.sink])
        if done.past is not None:
            self._move_past(done.to, done.past, outcome.records)

    def _move(self, to: int, past: int | None) -> None:
        if past is None:
            self.connection.execute(_MOVE, [to, self.sink])
        else:
            self._move_past(to, past, 0)

    def _move_past(self, to: int, past: int, records: int) -> None:
        self.connection.execute(_MOVE_PAST, [to, records, to, past])


def pause_after(failures: int, retry_after: float | None) -> timedelta:
    """How long a sink is left alone after so many failures in a row; at least as long as it asked for, in seconds."""
    pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE)
    jittered = pause.total_seconds() * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - keeps no secret
    return timedelta(seconds=max(jittered, retry_after or 0.0))


_FORGET_LETTERS = """
    DELETE FROM analytics_pipeline.dead_letters
    WHERE flow = %s AND unit = %s AND record_key::bigint <@ %s::int8multirange
"""

_SUCCEED = """
    UPDATE analytics_pipeline.event_logs_scrape_state SET
        planned_delivery = NULL, planned_ids = NULL, planned_to = NULL, planned_past = NULL,
        last_success_at = clock_timestamp(), consecutive_failures = 0, next_attempt_at = NULL,
        exported = exported + %s, failed = failed + %s, bookmark_id = coalesce(%s, bookmark_id)
    WHERE sink = %s
"""

_MOVE = "UPDATE analytics_pipeline.event_logs_scrape_state SET bookmark_id = %s WHERE sink = %s"

_MOVE_PAST = """
    UPDATE analytics_pipeline.event_logs_export_past SET
        done_id = %s, exported = exported + %s,
        finished_at = CASE WHEN %s >= until_id THEN clock_timestamp() END
    WHERE id = %s
"""

_FAIL = """
    UPDATE analytics_pipeline.event_logs_scrape_state SET
        consecutive_failures = %s, last_error = %s, last_error_at = clock_timestamp(),
        next_attempt_at = clock_timestamp() + %s
    WHERE sink = %s
"""

_FAIL_DELIVERY = """
    UPDATE analytics_pipeline.export_deliveries SET status = 'failed', error = %s, ended_at = clock_timestamp()
    WHERE id = %s
"""

_AGAIN = """
    UPDATE analytics_pipeline.export_deliveries SET
        status = 'sending', attempts = attempts + 1, started_at = clock_timestamp(), ended_at = NULL
    WHERE id = %s
"""
