"""Histories of an event log and its export: sessions that commit in any order, sinks, processes and people that fail.

Each run of the export is a process of its own, in which a store may be cut off and which may die at any of its calls.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import dagster as dg
import psycopg

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


class History:
    """All that happens follows from `chance`. Stores and the receiver are emptied first."""

    def __init__(self, product: Product, receiver: Receiver, home: Path, chance: Random, stack: ExitStack) -> None:
        self.product, self.receiver, self.chance = product, receiver, chance
        self.exports = home / "exports"
        os.environ["EXPORT_SINKS"] = f"own=clickhouse: disk={self.exports.as_uri()} hook={receiver.url}"
        product.execute(_EMPTY)
        product.clickhouse.execute("TRUNCATE TABLE exported_events")
        receiver.forget()
        connection = stack.enter_context(closing(psycopg.connect(product.postgres.url, autocommit=True)))
        self.clock = Clock(connection)
        self.clock.set(_NOON)
        self.pipeline = Pipeline.create(dict(os.environ), self.clock, home / "dagster", home.parent / "template")
        writers = [Writer(psycopg.connect(product.postgres.url), Truth()) for _ in range(3)]
        for one in writers:
            one.truth = writers[0].truth
        self.sessions = [stack.enter_context(closing(one)) for one in writers]
        self.minutes = 0

    def live(self, steps: int) -> None:
        """The product, the export, its sinks and its operators do what they like; in the end nothing may be wrong."""
        allow_list.add(self.product.postgres, [ALLOWED])
        self.product.execute(f"ALTER SEQUENCE event_logs_id_seq CACHE {self.chance.choice([1, 3])}")
        self.product.execute(_BATCH, self.chance.choice([1, 2, 3, 1000]))
        begin(self.product, *SINKS)
        others: list[Callable[[], None]] = [self.receive, self.time_passes, self.pause, self.replay, self.allow_past]
        for _ in range(steps):
            self.act()
            self.chance.choice([self.export, self.export, self.export, self.chance.choice(others)])()
        self.settle()

    def act(self) -> None:
        """All sessions do something, in turns."""
        for _ in range(self.chance.randrange(12)):
            self.chance.choice(self.chance.choice(self.sessions).steps)(self.chance)

    def export(self) -> None:
        fault = self.fault()
        try:
            self.pipeline.do(Export(), fault)
        except (Died, RuntimeError, ConnectionError):
            # The next one goes on where it ended.
            if fault is None:
                raise

    def fault(self) -> Fault | None:
        kind = self.chance.choice(["death", "cut"])
        some = [
            Fault("death", self.chance.randrange(1, 120)),
            Fault("cut", self.chance.randrange(1, 120)),
            Fault("death", self.chance.randrange(1, 30), writes=True),
            Fault("death" if kind == "death" else "cut", self.chance.randrange(1, 5), containing="exported_events"),
        ]
        return self.chance.choice([None, *some])

    def receive(self) -> None:
        """The web server is another one from now on."""
        self.receiver.mode = self.chance.choice(MODES)

    def time_passes(self) -> None:
        minutes = self.chance.choice([1, 7, 61, 400])
        if self.minutes + minutes < _MOST_MINUTES:
            self.minutes += minutes
            self.clock.forward(timedelta(minutes=minutes))

    def pause(self) -> None:
        """Or resume."""
        change = self.chance.choice([ledger.pause, ledger.resume])
        change(self.product.postgres, self.chance.choice(SINKS))

    def replay(self) -> None:
        first = self.chance.randrange(1, 40)
        past.replay(self.product.postgres, self.chance.choice(SINKS), first, first + self.chance.randrange(40))

    def allow_past(self) -> None:
        """What was not allowed leaves from now on, and so does what there is of it."""
        allow_list.add(self.product.postgres, [FORBIDDEN])
        past.request(self.product.postgres, SINKS, [FORBIDDEN])

    def settle(self) -> None:
        """Everybody commits or gives up, sinks work again; when nothing more is to be sent, nothing may be wrong."""
        for one in self.sessions:
            one.end_all(self.chance)
        self.receiver.mode = MODES[0]
        for sink in SINKS:
            ledger.resume(self.product.postgres, sink)
        for _ in range(_MOST_RUNS):
            asked = self.pipeline.do(Export())
            self.clock.forward(timedelta(minutes=7))
            if not asked:
                break
        else:
            raise AssertionError(f"it never comes to rest: {asked}")
        wrong = [*findings(self.product, self.exports, self.receiver)]
        assert not wrong, "\n".join([*wrong, f"What the processes said is in {self.pipeline.home / 'children.log'}"])


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
