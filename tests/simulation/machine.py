"""The machine: whatever a product, its stores and the pipeline may do, in any order, each step drawn by hypothesis."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.simulation.auditor import Auditor
from tests.simulation.clock import Clock
from tests.simulation.faults import Fault
from tests.simulation.pipeline import Died, Pipeline
from tests.simulation.segment_auditor import SegmentAuditor
from tests.simulation.source import AI_HISTORY, ENVIRONMENTS, MEMBERSHIP, AiEvent, Event, Row, Segment, Source, moved
from tests.simulation.stores import TABLES, Stores
from tests.simulation.worker import Look, Materialise, Work

# Clocks go forward in New York on the day on which histories begin. Rows may lie before the first day of the pipeline.
TODAY, START = date(2026, 3, 8), date(2026, 3, 6)
ZONES = ("Asia/Kolkata", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Calcutta", "Mars/Base", None)
LOOKS = (
    "enablement",
    "reporting_late_rows",
    "ai_usage_late_rows",
    "segment_changes",
    "segments_closed_days",
    "reporting_closed_days",
    "ai_usage_closed_days",
)
FLOWS = (
    ("reporting_events", "reporting_rollups"),
    ("duo_chat_events", "code_suggestion_events", "ai_usage_daily"),
    ("raw_identities", "identity_snapshots", "segment_counts"),
)
RELATIONS = ("reporting_events", "ai_duo_chat_events", "ai_code_suggestion_events")
# All pauses of the pipeline are shorter.
_LONG = timedelta(minutes=65)
_MOST_LOOKS = 25

_days = st.integers(0, 3)
_hours = st.integers(0, 23)
_names = st.sampled_from(["first_response", "conversation_resolved", "conversation_bot_handoff", "reply_time", None])
_values = st.sampled_from([None, 0.5, 3.0, 60.0])
_keys = st.sampled_from([key for key, _ in ENVIRONMENTS.values()])
_people = st.sampled_from(["alice", "bob"])


def _condition(operator: str, value: str) -> list[dict[str, Any]]:
    conditions = [{"operator": operator, "property": "plan", "value": value}]
    return [{"type": "ALL", "rules": [], "conditions": conditions}]


_rules = st.sampled_from(
    [
        _condition("EQUAL", "pro"),
        _condition("NOT_EQUAL", "pro"),
        _condition("REGEX", "(?=pro)"),
        _condition("REGEX", "("),
        _condition("PERCENTAGE_SPLIT", "50"),
        [],
    ]
)
_faults = st.one_of(
    st.none(),
    st.builds(Fault, st.sampled_from(["death", "cut", "slow"]), st.integers(1, 160)),
    st.builds(Fault, st.sampled_from(["death", "cut"]), st.integers(1, 40), writes=st.just(value=True)),
    # Around a swap most can go wrong.
    st.builds(Fault, st.sampled_from(["death", "cut", "slow"]), st.integers(1, 4), containing=st.just("PARTITION ID")),
)


class Simulation(RuleBasedStateMachine):
    """A history. `stores` and the directories are the test's; all else is of the history alone."""

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

    @initialize(zone=st.sampled_from(ZONES), ai=st.booleans(), segments=st.booleans(), is_in_use=st.booleans())
    def begin(self, *, zone: str | None, ai: bool, segments: bool, is_in_use: bool = False) -> None:
        self.clock.set(datetime.combine(TODAY, time(6), timezone.utc))
        self.source.begin()
        self.source.set_zone(1, zone)
        self.source.switch_ai(on=ai)
        self.source.set_flag(AI_HISTORY, "global", enabled=ai)
        self.source.set_flag(MEMBERSHIP, "organisation:1", enabled=segments)
        self.source.save_segment(1, Segment(10, _condition("EQUAL", "pro")))
        if is_in_use:
            self._use()

    def _use(self) -> None:
        """There is something of everything, and the pipeline has brought it in."""
        for relation in RELATIONS:
            for days in (0, 1, 2):
                self.source.write(relation, self._row(relation, days, 5, "first_response", 3.0, 1))
        self.source.put_identity("key-a", "alice", {"plan": "pro"})
        for _ in range(2):
            self.look_at_everything()
            self.clock.forward(timedelta(minutes=20))

    @property
    def clock(self) -> Clock:
        return self.source.clock

    # What the product does.

    @rule(
        relation=st.sampled_from(RELATIONS), days=_days, hour=_hours, name=_names, value=_values, who=st.integers(1, 2)
    )
    def write(self, relation: str, days: int, hour: int, name: str | None, value: float | None, who: int) -> None:
        self.source.write(relation, self._row(relation, days, hour, name, value, who))

    @rule(data=st.data(), how=st.sampled_from(["change", "move", "delete"]), days=_days, hour=_hours)
    def alter(self, data: st.DataObject, how: str, days: int, hour: int) -> None:
        rows = [row for relation in RELATIONS for row in self.source.state.rows[relation].values()]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        relation = _relation(self.source, row)
        if how == "delete":
            self.source.delete(relation, row.id)
        elif how == "move":
            self.source.write(relation, moved(row, self._moment(days, hour), self.clock.now()))
        elif isinstance(row, Event):
            self.source.write(relation, replace(row, value=float(hour), updated_at=self.clock.now()))

    @rule()
    def go_back(self) -> None:
        self.source.go_back()

    @precondition(lambda self: self.source.late is None)
    @rule(relation=st.sampled_from(RELATIONS), days=_days, hour=_hours, name=_names, who=st.integers(1, 2))
    def write_late(self, relation: str, days: int, hour: int, name: str | None, who: int) -> None:
        self.source.write_late(relation, self._row(relation, days, hour, name, 1.5, who))

    @precondition(lambda self: self.source.late is not None)
    @rule()
    def commit_late(self) -> None:
        self.source.commit_late()

    @rule(account=st.integers(1, 2), zone=st.sampled_from(ZONES))
    def set_zone(self, account: int, zone: str | None) -> None:
        self.source.set_zone(account, zone)

    @rule(what=st.sampled_from(["ai", "history", "organisation:1", "organisation:2", "environment"]), on=st.booleans())
    def switch(self, what: str, *, on: bool) -> None:
        if what == "ai":
            self.source.switch_ai(on=on)
        elif what == "history":
            self.source.set_flag(AI_HISTORY, "global", enabled=on)
        elif what == "environment":
            (self.source.add_environment if on else self.source.remove_environment)(101)
        else:
            self.source.set_flag(MEMBERSHIP, what, enabled=on)

    @rule(key=_keys, name=_people, plan=st.sampled_from(["pro", "free", None]))
    def identity(self, key: str, name: str, plan: str | None) -> None:
        if plan is None:
            self.source.remove_identity(key, name)
        else:
            self.source.put_identity(key, name, {"plan": plan})

    @rule(number=st.integers(1, 3), rules=_rules, is_deleted=st.booleans())
    def segment(self, number: int, rules: list[dict[str, Any]], *, is_deleted: bool) -> None:
        self.source.save_segment(number, Segment(20 if number == 3 else 10, rules, is_deleted))

    # What the pipeline does, and what befalls it.

    @rule(name=st.sampled_from(LOOKS), fault=_faults, meanwhile=_values)
    def look(self, name: str, fault: Fault | None, meanwhile: float | None) -> None:
        self._do(Look((name,)), fault, meanwhile)

    @rule()
    def look_at_everything(self) -> None:
        self._do(Look(LOOKS), None, None)

    @rule(
        assets=st.sampled_from(FLOWS),
        days=st.integers(0, 2),
        length=st.integers(0, 2),
        fault=_faults,
        meanwhile=_values,
    )
    def materialise(
        self, assets: tuple[str, ...], days: int, length: int, fault: Fault | None, meanwhile: float | None
    ) -> None:
        last = self.clock.today - timedelta(days=days)
        first = max(last - timedelta(days=length), START)
        self._do(Materialise(assets, first, max(first, last)), fault, meanwhile)

    @rule(relation=st.sampled_from(RELATIONS), days=st.integers(1, 2), moment=st.integers(1, 6))
    def die_in_vain(self, relation: str, days: int, moment: int) -> None:
        """A row is written, the process that copies it dies, and the row is gone before anybody looks again."""
        self.write(relation, days, 5, "first_response", 3.0, 1)
        look = "reporting_late_rows" if relation == "reporting_events" else "ai_usage_late_rows"
        self._do(Look((look,)), Fault("death", moment, containing=" PARTITION "), None)
        self.source.go_back()

    @rule()
    def monitor_runs(self) -> None:
        self.pipeline.bury()

    # What befalls the stores.

    @rule(table=st.sampled_from(TABLES), number=st.integers(0, 2))
    def lose(self, table: str, number: int) -> None:
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
        auditor = Auditor(self.source, self.stores, self.pipeline, START)
        findings = [*auditor.findings(), *SegmentAuditor(self.source, self.stores).findings()]
        where = f"What the processes said is in {self.pipeline.home / 'children.log'}"
        assert not findings, "\n".join([*findings, where, self.replay])

    def _settle(self) -> None:
        """Everything looks again and again, until nothing is asked for, also after all pauses."""
        self.pipeline.bury()
        was_quiet = False
        ran: list[Any] = []
        for _ in range(_MOST_LOOKS):
            ran = self.pipeline.do(Look(LOOKS))
            if not ran and was_quiet:
                return
            was_quiet = not ran
            self.clock.forward(timedelta(minutes=11) if ran else _LONG)
        raise AssertionError(f"it never comes to rest: {ran}\n{self.replay}")

    def _do(self, work: Work, fault: Fault | None, meanwhile: float | None) -> None:
        try:
            self.pipeline.do(work, fault, self._meanwhile(meanwhile))
        except (Died, RuntimeError):
            # A tick that was cut off has failed; the next one looks again.
            if fault is None:
                raise
        self.pipeline.faults += fault is not None

    def _meanwhile(self, value: float | None) -> Callable[[], None]:
        """While the pipeline waits for a slow store, the product goes on."""

        def happens() -> None:
            if value is None:
                self.source.go_back()
            else:
                self.source.write("reporting_events", self._row("reporting_events", 0, 1, "first_response", value, 1))

        return happens

    def _row(self, relation: str, days: int, hour: int, name: str | None, value: float | None, who: int) -> Row:
        moment, now, id_ = self._moment(days, hour), self.clock.now(), self.source.new_id()
        if relation == "reporting_events":
            return Event(id_, name, value, 1.0, who, None if hour % 3 else 7, who, hour % 2, moment, now)
        kinds = {"first_response": 1, "conversation_resolved": 2, "reply_time": 3, None: 99}
        kind = kinds.get(name, 4)
        if relation == "ai_duo_chat_events":
            return AiEvent(id_, moment, who, 1 if kind < 99 else 99, "1/2" if hour % 2 else None, None, now)
        payload = {"language": "go", "suggestion_size": hour} if value else None
        return AiEvent(id_, moment, who, kind, "1/2/", payload, now)

    def _moment(self, days: int, hour: int) -> datetime:
        """So many days ago at that hour, but never in the future."""
        moment = datetime.combine(self.clock.today - timedelta(days=days), time(hour, 30, 1, 123456), timezone.utc)
        return min(moment, self.clock.now())


def _relation(source: Source, row: Row) -> str:
    return next(relation for relation, rows in source.state.rows.items() if rows.get(row.id) == row)
