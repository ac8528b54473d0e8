"""Histories of an event log and its export: sessions that commit in any order, sinks, processes and people that fail.

Each run of the export is a process of its own, in which a store may be cut off and which may die at any of its calls.
"""

import os
import random
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import dagster as dg
import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import allow_list, ledger, past
from analytics_pipeline.flows.usage_export.export import export_all
from analytics_pipeline.flows.usage_export.pending import sinks_to_serve
from analytics_pipeline.resources.postgres import postgres
from tests.flows.usage_export.event_log import begin
from tests.flows.usage_export.writers import ALLOWED, FORBIDDEN, Truth, Writer
from tests.product import Product
from tests.simulation.clock import Clock
from tests.simulation.faults import Fault
from tests.simulation.pipeline import Died, Pipeline
from tests.simulation.usage_export_audit import findings
from tests.simulation.usage_export_receiver import MODES, Receiver

SINKS = ("own", "disk", "hook")
_NOON = datetime(2026, 3, 8, 12, tzinfo=timezone.utc)
# An id that somebody drew a day before he used it is given up.
_MOST_MINUTES = 20 * 60
_MOST_RUNS = 30
_sinks = st.sampled_from(SINKS)
_faults = st.one_of(
    st.none(),
    st.builds(Fault, st.sampled_from(["death", "cut"]), st.integers(1, 120)),
    st.builds(Fault, st.sampled_from(["death", "cut"]), st.integers(1, 30), writes=st.just(value=True)),
    st.builds(Fault, st.just("death"), st.integers(1, 6), containing=st.just("exported_events")),
)


@dataclass(frozen=True)
class Export:
    """A tick of the sensor, and the run that it asks for; the sinks that had something to get."""

    def do(self, _: dg.DagsterInstance) -> list[str]:
        settings = Settings.load()
        store = postgres(settings)
        asked = sinks_to_serve(store, [sink.name for sink in settings.sinks])
        if asked:
            export_all(settings, store, "run")
        return asked


class ExportSimulation(RuleBasedStateMachine):
    """`product`, `receiver` and `home` are the test's; all else is of the history alone."""

    product: Product
    receiver: Receiver
    home: Path
    replay = ""
    number = count()

    def __init__(self) -> None:
        super().__init__()
        name = f"history-{next(self.number)}"
        self.exports = self.home / f"{name}-exports"
        os.environ["EXPORT_SINKS"] = f"own=clickhouse: disk={self.exports.as_uri()} hook={self.receiver.url}"
        self.product.execute(_EMPTY)
        self.product.clickhouse.execute("TRUNCATE TABLE exported_events")
        self.receiver.forget()
        self.clock = Clock(psycopg.connect(self.product.postgres.url, autocommit=True))
        self.clock.set(_NOON)
        self.pipeline = Pipeline.create(dict(os.environ), self.clock, self.home / name, self.home / "template")
        truth = Truth()
        self.sessions = [Writer(psycopg.connect(self.product.postgres.url), truth) for _ in range(3)]
        self.minutes = 0

    @initialize(batch=st.sampled_from([1, 2, 3, 1000]), cache=st.sampled_from([1, 3]))
    def set_up(self, batch: int, cache: int) -> None:
        allow_list.add(self.product.postgres, [ALLOWED])
        self.product.execute(f"ALTER SEQUENCE event_logs_id_seq CACHE {cache}")
        self.product.execute(_BATCH, batch)
        begin(self.product, *SINKS)

    # What the product does.

    @rule(session=st.integers(0, 2), seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=6))
    def act(self, session: int, seeds: list[int]) -> None:
        for seed in seeds:
            chance = random.Random(seed)  # noqa: S311 - a history that can be repeated
            chance.choice(self.sessions[session].steps)(chance)

    # What the export does, and what befalls it.

    @rule(fault=_faults)
    def export(self, fault: Fault | None) -> None:
        try:
            self.pipeline.do(Export(), fault)
        except (Died, RuntimeError, ConnectionError, psycopg.Error):
            # The next one goes on where it ended.
            if fault is None:
                raise

    @rule(mode=st.sampled_from(MODES))
    def receive(self, mode: str) -> None:
        self.receiver.mode = mode

    @precondition(lambda self: self.minutes < _MOST_MINUTES)
    @rule(minutes=st.sampled_from([1, 7, 61, 400]))
    def time_passes(self, minutes: int) -> None:
        self.minutes += minutes
        self.clock.forward(timedelta(minutes=minutes))

    # What operators do.

    @rule(sink=_sinks, is_paused=st.booleans())
    def pause(self, sink: str, *, is_paused: bool) -> None:
        (ledger.pause if is_paused else ledger.resume)(self.product.postgres, sink)

    @rule(sink=_sinks, first=st.integers(1, 30), length=st.integers(0, 30))
    def replay_some(self, sink: str, first: int, length: int) -> None:
        past.replay(self.product.postgres, sink, first, first + length)

    @rule()
    def allow_past(self) -> None:
        """What was not allowed leaves from now on, and so does what there is of it."""
        allow_list.add(self.product.postgres, [FORBIDDEN])
        past.request(self.product.postgres, SINKS, [FORBIDDEN])

    # And what has to come of it.

    def teardown(self) -> None:
        # After a failure, or when hypothesis gives an example up, there is nothing to be audited.
        try:
            if sys.exc_info()[0] is None:
                self.settle_and_audit()
        finally:
            for one in self.sessions:
                one.close()
            self.clock.connection.close()

    def settle_and_audit(self) -> None:
        """Everybody commits or gives up, sinks work again; when nothing more is to be sent, nothing may be wrong."""
        for one in self.sessions:
            one.end_all(random.Random(1))  # noqa: S311 - a history that can be repeated
        self.receiver.mode = "takes"
        for sink in SINKS:
            ledger.resume(self.product.postgres, sink)
        for _ in range(_MOST_RUNS):
            asked = self.pipeline.do(Export())
            self.clock.forward(timedelta(minutes=7))
            if not asked:
                break
        else:
            raise AssertionError(f"it never comes to rest: {asked}\n{self.replay}")
        wrong = [*findings(self.product, self.exports, self.receiver)]
        where = f"What the processes said is in {self.pipeline.home / 'children.log'}"
        assert not wrong, "\n".join([*wrong, where, self.replay])


_BATCH = """
    INSERT INTO application_settings (id, export_usage_telemetry)
    VALUES (1, jsonb_build_object('batchSize', %s::int))
"""

_EMPTY = """
    TRUNCATE event_logs RESTART IDENTITY;
    TRUNCATE application_settings, event_logs_export_allowlist;
    TRUNCATE analytics_pipeline.event_logs_scrape_state, analytics_pipeline.event_logs_gaps,
        analytics_pipeline.export_deliveries, analytics_pipeline.event_logs_export_past,
        analytics_pipeline.event_logs_export_allowlist, analytics_pipeline.dead_letters
"""
