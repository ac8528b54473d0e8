"""Serves one sink in a run: what was on its way, what came late, what is new, and what was asked for of the past."""

import logging
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.flows.usage_export import gaps, past
from analytics_pipeline.flows.usage_export.allow_list import AllowList
from analytics_pipeline.flows.usage_export.bookmark import Bookmark, Outcome
from analytics_pipeline.flows.usage_export.deliveries import Kind
from analytics_pipeline.flows.usage_export.errors import SinkFailed
from analytics_pipeline.flows.usage_export.ledger import Sending, State
from analytics_pipeline.flows.usage_export.records import EMPTY, ROWS_PER_LOOK, EventReader, Instance, Plan, Read
from analytics_pipeline.flows.usage_export.source import LARGEST_ID
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sinks.base import Sink, SinkRefused, SinkUnavailable

logger = logging.getLogger(__name__)
# The past gives way to the live export this often.
PAST_SECONDS = 10.0


@dataclass
class Served:
    """The work of a run for a sink. `status`: served, failed, paused, time_over or `skipped: …`; `error` says why."""

    sink: str
    status: str = "served"
    batches: int = 0
    records: int = 0
    failed: int = 0
    sent_bytes: int = 0
    failures_in_a_row: int = 0
    error: str = ""

    def add(self, outcome: Outcome) -> None:
        self.batches += 1
        self.records += outcome.records
        self.failed += len(outcome.refused)
        self.sent_bytes += outcome.sent_bytes


@dataclass(frozen=True)
class Run:
    """All that the sinks of a run have in common. `batch` is the most records that go at once."""

    postgres: Postgres
    allowed: AllowList
    instance: Instance
    batch: int
    deadline: Deadline
    run_id: str


def _told(error: Exception) -> str:
    """The sink's own words; of any other error the kind and the place alone, for its text may hold a record."""
    if isinstance(error, SinkRefused | SinkUnavailable | NotConfigured | ConnectionError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.name}, line {place.lineno} of {place.filename}"


@dataclass(frozen=True)
class _Coming:
    """A batch that was found, and its records, which are being read."""

    plan: Plan
    read: Future[Read]


@dataclass
class Line:
    """The work of a run for one sink. It reads ahead, a batch at most: the next is read while one is sent."""

    run: Run
    bookmark: Bookmark
    reader: EventReader
    open_sink: Callable[[str], Sink]
    served: Served
    ahead: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "ahead"))
    sink: Sink | None = None
    rows: int = 1_000

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        # What is being read is waited for: its connection is closed next.
        self.ahead.shutdown(cancel_futures=True)
        if self.sink is not None:
            self.sink.close()

    def serve(self, state: State) -> None:
        """First what was on its way, then what came late, then what is new, and the past when all else is done."""
        if state.sending is not None:
            self.bookmark.again(state.sending)
            outcome = self._send(state.sending, self.reader.read(state.sending.ids))
            self.bookmark.advance(state.sending, outcome, None)
        pasts = past.begun(self.bookmark.connection, self.bookmark.sink, self.run.allowed.names)
        self._late()
        self._live()
        for one in pasts:
            self._past(one)
        self._leave_rest()

    def _leave_rest(self) -> None:
        if self.run.deadline.remaining <= 0:
            self.served.status = "time_over"

    def _late(self) -> None:
        """Send events whose ids were passed before they were committed."""
        ledger, sink = self.bookmark.connection, self.bookmark.sink
        horizon = self.reader.horizon()
        remaining = gaps.due(ledger, sink, horizon)
        while remaining != EMPTY and self.run.deadline.remaining > 0:
            found = self.reader.late(remaining, self.run.batch, self._position())
            if found is None:
                gaps.looked_at(ledger, sink, remaining, horizon)
                return
            plan, remaining = found
            sending = self.bookmark.advance(None, None, plan, "late")
            if sending is not None:
                outcome = self._send(sending, self.reader.read(plan.ids))
                self.bookmark.advance(sending, outcome, None)

    def _live(self) -> None:
        self._stream(self._position(), self.run.deadline)

    def _past(self, one: past.Past) -> None:
        """Work on a history; every few seconds the live export goes first."""
        position: int | None = one.done_id
        while position is not None and self.run.deadline.remaining > 0:
            ends = Deadline.after(min(PAST_SECONDS, self.run.deadline.remaining), "")
            position = self._stream(position, ends, one)
            self._live()

    def _stream(self, position: int, ends: Deadline, of: past.Past | None = None) -> int | None:
        """Send batch after batch of what follows the position; returns where time was over, None when all is sent."""
        done: Sending | None = None
        outcome: Outcome | None = None
        kind: Kind = "past" if of else "live"
        coming = self._coming(position, of)
        batch = next(coming, None)
        while True:
            following = batch.plan if batch and ends.remaining > 0 else None
            sending = self.bookmark.advance(done, outcome, following, kind, of.id if of else None)
            if batch is None or following is None:
                if batch is None and of:
                    past.finish(self.bookmark.connection, of)
                return position if batch else None
            position, read = following.to, batch.read.result()
            batch = next(coming, None)
            done, outcome = sending, self._send(sending, read) if sending else None

    def _coming(self, position: int, of: past.Past | None) -> Iterator[_Coming]:
        """Batches after the position. The records of each are read while the one before is sent and recorded."""
        looking = self.ahead.submit(self._look, position, of)
        while (plan := looking.result()) is not None:
            reading = self.ahead.submit(self._read, plan)
            looking = self.ahead.submit(self._look, plan.to, of)
            yield _Coming(plan, reading)

    def _look(self, position: int, of: past.Past | None) -> Plan | None:
        """The batch that follows the position."""
        names = self.run.allowed.names if of is None or of.event_name is None else (of.event_name,)
        until = LARGEST_ID if of is None or of.until_id is None else of.until_id
        plan = self.reader.next(position, self.run.batch, rows=self.rows, until=until, names=names)
        if plan is None:
            return None
        # As many rows as it takes to fill a batch, whether few or all of them are allowed to leave.
        wanted = self.rows * 2 if plan.records < self.run.batch // 2 else 2 * self.run.batch
        self.rows = min(wanted, ROWS_PER_LOOK)
        return plan if of is None else replace(plan, gaps=EMPTY)

    def _read(self, plan: Plan) -> Read:
        return self.reader.read(plan.ids) if plan.records else Read(None, ())

    def _send(self, sending: Sending, read: Read) -> Outcome:
        """Send the records, and wait until the receiver has them.

        Raises:
            SinkFailed: it does not, which is recorded.
        """
        try:
            outcome = self._sent(read)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this sink's alone
            text = _told(error)
            logger.warning("sink %s: %s", self.bookmark.sink, text)
            retry_after = getattr(error, "retry_after", None)
            self.served.failures_in_a_row = self.bookmark.fail(sending, text, retry_after)
            raise SinkFailed(text) from None
        self.served.add(outcome)
        return outcome

    def _sent(self, read: Read) -> Outcome:
        if read.batch is None:
            return Outcome(0, 0, read.refused)
        if self.sink is None:
            self.sink = self.open_sink(self.bookmark.sink)
        delivery = self.sink.send(read.batch)
        records = len(read.batch.ids) - len(delivery.refused)
        return Outcome(records, delivery.sent_bytes, (*read.refused, *delivery.refused))

    def _position(self) -> int:
        state = self.bookmark.state()
        assert state is not None
        return state.bookmark_id
