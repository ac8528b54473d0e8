"""A product in which one subject of each kind has left traces everywhere, beside others like it, and all that runs."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.api import tokens
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.identities.capture import IdentityCapture
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.identities.load import SnapshotLoad
from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.flows.product_events import letters
from analytics_pipeline.flows.product_events.aggregates.build import Build
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.product_events.decoding import Arrived, Head, decoded
from analytics_pipeline.flows.product_events.ingestion import Ingestion, Submission
from analytics_pipeline.flows.product_events.replay import replay
from analytics_pipeline.flows.product_events.rows import row_maker
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.flows.segments.refresh import CountRefresh
from analytics_pipeline.flows.tenants import Tenants, enabled_tenants
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.sinks.clickhouse import ClickHouseSink
from tests.flows.product_events.samples import batch, completed, custom, envelope, moment
from tests.flows.reporting import desk
from tests.flows.usage_export import event_log
from tests.product import KEY, Product, document, today

USER, ACCOUNT, ORGANISATION, PROJECT = 660000000001, 770000000001, 880000000001, 880000000010
EVENT_USER = "0199aaaa-bbbb-7ccc-8ddd-eeee00000001"
OTHER_EVENT_USER = "0199aaaa-bbbb-7ccc-8ddd-eeee00000002"
GONE_KEY = "env-gone-880000000100"
IDENTIFIER = 'Zoë "the\\one" O\'Brien'
YESTERDAY = today() - timedelta(days=1)
# Events of product services that are new enough not to be in figures yet are read from the events.
_BEFORE = timedelta(minutes=90)


@dataclass
class World:
    """The product and what may run over it, by name; `late` counts what was added meanwhile."""

    product: Product
    late: int = 0
    runs: Mapping[str, Callable[[], None]] = field(init=False)

    def __post_init__(self) -> None:
        self.runs = {
            "capture": self.capture,
            "load": self.load,
            "count": self.count,
            "copy reporting": self.copy_reporting,
            "roll up": self.roll_up,
            "copy ai": self.copy_ai,
            "count ai": self.count_ai,
            "late events": self.late_events,
            "replay": self.replay,
            "aggregate": self.aggregate,
            "export": self.export,
            "late rows": self.late_rows,
        }

    def everything(self) -> None:
        for run in self.runs.values():
            run()

    @property
    def tenants(self) -> Tenants:
        return enabled_tenants(self.product.postgres, feature_flags(self.product.settings, self.product.postgres))

    def capture(self) -> None:
        store = self.product.postgres
        reader = QueryReader(identities_table(self.product.settings))
        with store.lease(f"identities:{today()}"):
            work = IdentityCapture(reader, self.product.landing, store, f"run {self.late}", 1)
            _, failures = work.capture(today(), self.tenants.environments)
        assert failures == []

    def load(self) -> None:
        store = self.product.postgres
        with store.lease(f"identities:{today()}"):
            ledger = IdentityLedger(store, today(), "run")
            load = SnapshotLoad(self.product.clickhouse, self.product.landing, ledger, today())
            assert load.load(self.tenants.environments).failures == []
            load.remove_gone(self.tenants.known_environment_keys)

    def count(self) -> None:
        for project in self.tenants.projects:
            CountRefresh(
                self.product.clickhouse,
                self.product.postgres,
                RefreshLedger(self.product.postgres, today(), "run"),
                is_open=True,
            ).refresh(project)

    def copy_reporting(self) -> None:
        DayCopy(REPORTING_EVENTS, self.product.postgres, self.product.clickhouse, "run").copy(YESTERDAY, today())

    def roll_up(self) -> None:
        Rollups(self.product.clickhouse, self.product.postgres, "run").compute(YESTERDAY, today())

    def copy_ai(self) -> None:
        for source in SOURCES:
            DayCopy(source, self.product.postgres, self.product.clickhouse, "run").copy(YESTERDAY, today())

    def count_ai(self) -> None:
        DailyUsage(self.product.clickhouse, self.product.postgres, "run").build(YESTERDAY, today())

    def late_events(self) -> None:
        """Services send events of everybody once more, and new ones."""
        self.late += 1
        for organisation in (1, ORGANISATION):
            self.ingest(organisation, *(envelope(one, timestamp=_ago(_BEFORE)) for one in self._events()))

    def ingest(self, organisation: int, *envelopes: object) -> None:
        maker = row_maker(self.product.settings)
        arrived = decoded(json.dumps(batch(*envelopes)).encode(), "json")
        entries = maker.made(organisation, Arrived(Head(), arrived.events), time.time_ns() // 1_000_000)
        # Received long enough ago that figures are made of them.
        for one in entries:
            if hasattr(one, "received_at"):
                one.received_at -= 600
        ingestion = Ingestion(self.product.postgres, lambda: self.product.clickhouse, maker, lambda _, ids: {*ids})
        ingestion.commit([Submission(0, organisation, "request", entries)])

    def _events(self) -> list[dict[str, Any]]:
        of_user = [
            completed(user_id=EVENT_USER),
            custom("clicked", button="save") | {"user_id": EVENT_USER},
            {"type": "auth_code_verified", "user_id": EVENT_USER, "success": True},
            # Rejected, and kept as a dead letter.
            {"type": "task_completed", "user_id": EVENT_USER, "task_id": 7},
        ]
        return of_user + [{**one, "user_id": OTHER_EVENT_USER} for one in of_user[:3]]

    def replay(self) -> None:
        replay(
            self.product.settings, self.product.postgres, self.product.clickhouse, letters.listed(self.product.postgres)
        )

    def aggregate(self) -> None:
        for aggregate in AGGREGATES:
            Build(aggregate, self.product.clickhouse, self.product.postgres, "run", 90).build(YESTERDAY, today())

    def export(self) -> None:
        event_log.due_again(self.product)
        (served,) = event_log.run(self.product, ClickHouseSink("warehouse", self.product.settings))
        assert (served.status, served.error) == ("served", "")

    def late_rows(self) -> None:
        """The product writes more rows of everybody."""
        self.late += 1
        for user in (USER, 5):
            self.product.add_chat(_moment(), user, namespace_path="1/2/")
            self.product.add_suggestion(_moment(), user, namespace_path="1/2/", payload={"language": "go"})
            event_log.add_event(self.product, user_id=user, public_argument={"a": 1})
            for account in (1, ACCOUNT):
                desk.add_event(
                    self.product,
                    "first_response",
                    _moment(),
                    account_id=account,
                    user_id=user,
                    inbox_id=3,
                    value=10.0,
                    value_in_business_hours=5.0,
                    conversation_id=9,
                )


def _moment() -> datetime:
    """Yesterday around noon, never twice."""
    return datetime.combine(YESTERDAY, datetime.min.time(), timezone.utc) + timedelta(
        hours=12, microseconds=time.time_ns() // 1000 % 1_000_000_000
    )


def _ago(duration: timedelta) -> str:
    return moment(seconds=duration.total_seconds())


def new_world(product: Product) -> World:
    """Everybody has left traces; nothing has run yet. `product` has organisation 1 with its project already."""
    product.add_organisation(ORGANISATION)
    product.add_project(PROJECT, ORGANISATION)
    product.add_environment(880000000100, PROJECT, GONE_KEY)
    product.add_segment(880000000001, _PRO, PROJECT)
    for key, first in ((KEY, IDENTIFIER), (GONE_KEY, "anna")):
        product.put(document(first, key, plan="pro"), document("bob", key, plan="pro"), document("carl", key))
        # It cannot be mapped: a dead letter of a document of the subject's.
        broken = {"identifier": first, "composite_key": f"{key}_x", "identity_traits": 1}
        product.put({**document("broken", key), **broken})
    world = World(product)
    for account in (1, ACCOUNT):
        desk.add_account(product, account, "Etc/UTC")
        desk.add_event(product, None, _moment(), account_id=account, user_id=USER)
    product.add_chat(_moment(), USER, event=77)
    event_log.allow(product, ViewSearch=["a"])
    event_log.begin(product, "warehouse")
    world.late_rows()
    for organisation in (1, ORGANISATION):
        tokens.create(product.postgres, f"events of {organisation}", "ingest", organisation_id=organisation)
    tokens.create(product.postgres, "reader", "read", account_id=ACCOUNT)
    for scope in (f"account:{ACCOUNT}", "account:1", f"organisation:{ORGANISATION}"):
        product.execute(
            "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, last_attempt)"
            " VALUES ('x', %s, 1, 'on', 3)",
            scope,
        )
    return world


_PRO = [{"type": "ALL", "rules": [], "conditions": [{"operator": "EQUAL", "property": "plan", "value": "pro"}]}]
