"""A history: what may befall the rows of any flow, its processes and its stores, and what has to come of it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.simulation.auditor import Auditor
from tests.simulation.clock import Clock
from tests.simulation.faults import Fault
from tests.simulation.flow import Draft, Flow
from tests.simulation.pipeline import Died, Pipeline
from tests.simulation.source import Event, Row, Source, moved
from tests.simulation.stores import Stores
from tests.simulation.worker import Look, Materialise, Work

T = TypeVar("T")
# Clocks go forward in New York on the day on which histories begin. Rows may lie before the first day of the pipeline.
TODAY, START = date(2026, 3, 8), date(2026, 3, 6)
# All pauses of the pipeline are shorter.
_LONG = timedelta(minutes=65)
_MOST_LOOKS = 25

# The second moment of a call: all was done, but nobody has heard of it.
_AFTER = 2

_days = st.integers(0, 3)
_hours = st.integers(0, 23)
_which = st.integers(0, 11)
_names = st.sampled_from(["first_response", "conversation_resolved", "conversation_bot_handoff", "reply_time", None])
_values = st.sampled_from([None, 0.5, 3.0, 60.0])
_faults = st.one_of(
    st.none(),
    st.builds(Fault, st.sampled_from(["death", "cut", "slow"]), st.integers(1, 160)),
    st.builds(Fault, st.sampled_from(["death", "cut"]), st.integers(1, 40), writes=st.just(value=True)),
    # Around a swap most can go wrong.
    st.builds(Fault, st.sampled_from(["death", "cut", "slow"]), st.integers(1, 4), containing=st.just("PARTITION ID")),
)


def _has_rows(history: "History") -> bool:
    return bool(history.relations)


class History(RuleBasedStateMachine):
    """`stores` and the directories are the test's; all else is of the history alone."""

    stores: Stores
    home: Path
    landing: Path
    replay = ""
    number = count()

    def __init__(self) -> None:
        super().__init__()
        self.stores.empty(self.landing)
        clock = Clock(self.stores.postgres)
        home = self.home / f"history-{next(self.number)}"
        self.source = Source(self.stores.postgres, clock, self.stores.environment["IDENTITIES_TABLE"])
        self.pipeline = Pipeline.create(self.stores.environment, clock, home, self.home / "template")
        self.flows: tuple[Flow, ...] = ()

    def set_in_motion(self, flows: tuple[Flow, ...]) -> None:
        """Time begins, for these flows."""
        self.flows = flows
        self.clock.set(datetime.combine(TODAY, time(6), timezone.utc))
        self.source.begin()

    def be_in_use(self) -> None:
        """There are rows of everything, and the pipeline has brought in what there is."""
        for relation in self.relations:
            for days in (0, 1, 2):
                self.put(relation, days, 5, "first_response", 3.0, 1)
        for _ in range(2):
            self.look_at_everything()
            self.clock.forward(timedelta(minutes=20))

    @property
    def clock(self) -> Clock:
        return self.source.clock

    @property
    def relations(self) -> tuple[str, ...]:
        return tuple(relation for flow in self.flows for relation in flow.relations)

    @property
    def looks(self) -> tuple[str, ...]:
        """The sensors and schedules of the flows."""
        return ("enablement", *(name for flow in self.flows for name in flow.looks))

    # What the product does.

    @precondition(_has_rows)
    @rule(which=_which, days=_days, hour=_hours, name=_names, value=_values, who=st.integers(1, 2))
    def write(self, which: int, days: int, hour: int, name: str | None, value: float | None, who: int) -> None:
        self.put(_of(self.relations, which), days, hour, name, value, who)

    def put(self, relation: str, days: int, hour: int, name: str | None, value: float | None, who: int) -> None:
        """Write a row of so many days ago at that hour."""
        self.source.write(relation, self._row(relation, days, hour, name, value, who))

    @precondition(_has_rows)
    @rule(data=st.data(), how=st.sampled_from(["change", "move", "delete"]), days=_days, hour=_hours)
    def alter(self, data: st.DataObject, how: str, days: int, hour: int) -> None:
        rows = [row for relation in self.relations for row in self.source.state.rows[relation].values()]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        relation = _relation(self.source, row)
        if how == "delete":
            self.source.delete(relation, row.id)
        elif how == "move":
            self._move(relation, row, self._moment(days, hour))
        elif isinstance(row, Event):
            self.source.write(relation, replace(row, value=float(hour), updated_at=self.clock.now()))

    def _move(self, relation: str, row: Row, moment: datetime) -> None:
        """AI events have no time stamp of changes: of one that is moved within its day nothing tells."""
        if isinstance(row, Event) or row.timestamp.date() != moment.date():
            self.source.write(relation, moved(row, moment, self.clock.now()))

    @precondition(lambda self: self.source.undo is not None)
    @rule()
    def go_back(self) -> None:
        self.source.go_back()

    @precondition(lambda self: _has_rows(self) and self.source.late is None)
    @rule(which=_which, days=_days, hour=_hours, name=_names, who=st.integers(1, 2))
    def write_late(self, which: int, days: int, hour: int, name: str | None, who: int) -> None:
        relation = _of(self.relations, which)
        self.source.write_late(relation, self._row(relation, days, hour, name, 1.5, who))

    @precondition(lambda self: self.source.late is not None)
    @rule()
    def commit_late(self) -> None:
        self.source.commit_late()

    # What the pipeline does, and what befalls it.

    @rule(which=_which, fault=_faults, meanwhile=_values)
    def look(self, which: int, fault: Fault | None, meanwhile: float | None) -> None:
        self.do(Look((_of(self.looks, which),)), fault, meanwhile)

    @rule()
    def look_at_everything(self) -> None:
        self.do(Look(self.looks))

    @rule(which=_which, days=st.integers(0, 2), length=st.integers(0, 2), fault=_faults, meanwhile=_values)
    def materialise(self, which: int, days: int, length: int, fault: Fault | None, meanwhile: float | None) -> None:
        last = self.clock.today - timedelta(days=days)
        first = max(last - timedelta(days=length), START)
        self.do(Materialise(_of(self.flows, which).assets, first, max(first, last)), fault, meanwhile)

    @precondition(_has_rows)
    @rule(which=_which, days=st.integers(1, 2))
    def die_in_vain(self, which: int, days: int) -> None:
        """A row is written, the process that swaps its day dies before it records that, and then exactly this row goes.

        Where the day was never copied nobody follows it, so nobody would die.
        """
        relation = _of(self.relations, which)
        (flow,) = (flow for flow in self.flows if relation in flow.relations)
        table, day = relation.removeprefix("ai_"), self.clock.today - timedelta(days=days)
        if day not in self.stores.copied_days(table):
            return
        self.put(relation, days, 5, "first_response", 3.0, 1)
        # Of a run that died before, the sensor believes that it still works, and would ask for nothing.
        self.pipeline.bury()
        swap = f"REPLACE PARTITION ID '{day:%Y%m%d}' FROM `staging_{table}"
        self.do(Look(flow.looks[:1]), Fault("death", _AFTER, containing=swap))
        self.source.go_back()

    @rule()
    def monitor_runs(self) -> None:
        self.pipeline.bury()

    # What befalls the stores.

    @rule(which=_which, number=st.integers(0, 2))
    def lose(self, which: int, number: int) -> None:
        self.lose_partition(_of(tuple(table for flow in self.flows for table in flow.tables), which), number)

    def lose_partition(self, table: str, number: int) -> None:
        """ClickHouse loses one of the table's partitions, if it has any."""
        if self.stores.lose(table, number):
            self.pipeline.damages += 1

    @rule(what=st.sampled_from(["ledger", "all"]))
    def keep(self, what: str) -> None:
        self.stores.keep(what, self.source)

    @precondition(lambda self: bool(self.stores.kept))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        self.stores.restore(data.draw(st.sampled_from(sorted(self.stores.kept))), self.source)
        self.pipeline.damages += 1

    # It takes nothing and its name is the first, so it is all that happens in the simplest history, which hypothesis
    # tries before all others: that one costs little.
    @rule()
    def an_hour_passes(self) -> None:
        self.clock.forward(timedelta(hours=1))

    @rule(minutes=st.sampled_from([3, 30, 300, 1080]))
    def time_passes(self, minutes: int) -> None:
        self.clock.forward(timedelta(minutes=minutes))

    # And what has to come of it.

    def teardown(self) -> None:
        # After a failure, or when hypothesis gives an example up, there is nothing to be audited.
        try:
            if sys.exc_info()[0] is None:
                self.settle_and_audit()
        finally:
            self.source.forget_late()

    def settle_and_audit(self) -> None:
        """When the day has closed it comes to rest; then nothing may be wrong."""
        self.source.commit_late()
        self.clock.set(datetime.combine(self.clock.today + timedelta(days=1), time(0, 30), timezone.utc))
        self._settle()
        what = (self.source, self.stores, self.pipeline, START)
        findings = [finding for flow in self.flows for finding in flow.auditor(*what).findings()]
        findings += Auditor(*what).in_common()
        where = f"What the processes said is in {self.pipeline.home / 'children.log'}"
        assert not findings, "\n".join([*findings, where, self.replay])

    def _settle(self) -> None:
        """Everything looks again and again, until nothing is asked for, also after all pauses."""
        self.pipeline.bury()
        was_quiet = False
        ran: list[Any] = []
        for _ in range(_MOST_LOOKS):
            ran = self.pipeline.do(Look(self.looks))
            if not ran and was_quiet:
                return
            was_quiet = not ran
            self.clock.forward(timedelta(minutes=11) if ran else _LONG)
        raise AssertionError(f"it never comes to rest: {ran}\n{self.replay}")

    def do(self, work: Work, fault: Fault | None = None, meanwhile: float | None = None) -> None:
        """Have the pipeline do the work, under the fault; while a slow store holds it up, the product goes on."""
        try:
            self.pipeline.do(work, fault, self._meanwhile(meanwhile))
        except (Died, RuntimeError):
            # A tick that was cut off has failed; the next one looks again.
            if fault is None:
                raise
        self.pipeline.faults += fault is not None

    def _meanwhile(self, value: float | None) -> Callable[[], None]:
        def happens() -> None:
            if value is None:
                self.source.go_back()
            elif self.relations:
                self.put(self.relations[0], 0, 1, "first_response", value, 1)

        return happens

    def _row(self, relation: str, days: int, hour: int, name: str | None, value: float | None, who: int) -> Row:
        (flow,) = (flow for flow in self.flows if relation in flow.relations)
        moment, id_ = self._moment(days, hour), self.source.new_id()
        return flow.row(Draft(relation, id_, moment, self.clock.now(), hour, name, value, who))

    def _moment(self, days: int, hour: int) -> datetime:
        """So many days ago at that hour, but never in the future."""
        moment = datetime.combine(self.clock.today - timedelta(days=days), time(hour, 30, 1, 123456), timezone.utc)
        return min(moment, self.clock.now())


def _of(all_: Sequence[T], which: int) -> T:
    """One of them; which, was drawn before it was known how many there are."""
    return all_[which % len(all_)]


def _relation(source: Source, row: Row) -> str:
    return next(relation for relation, rows in source.state.rows.items() if rows.get(row.id) == row)
