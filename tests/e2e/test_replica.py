"""All flows on a read replica of the product's database, with the ledgers in a database of their own."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import psycopg
import pytest
from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.pending import pending_days
from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.guards import ReplicaBehind, replica_lag
from analytics_pipeline.flows.reporting.audit import lag
from analytics_pipeline.flows.reporting.pending import live
from analytics_pipeline.flows.segments import refresh
from analytics_pipeline.flows.segments.changes import changed_projects
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.flows.usage_export import allow_list
from analytics_pipeline.flows.usage_export.export import export
from analytics_pipeline.flows.usage_export.ledger import create
from analytics_pipeline.flows.usage_export.line import Run
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import MixedStatement, Postgres, postgres
from analytics_pipeline.sensors.enablement import enablement
from tests.e2e.standby import standby, wait_until_replayed
from tests.flows.reporting.desk import add_account
from tests.flows.usage_export.event_log import SITE, add_events
from tests.flows.usage_export.receivers import Receiver
from tests.product import KEY, Product, document, failure_text, today
from tests.sensors.enablement import at

DAY = today() - timedelta(days=1)


@dataclass(frozen=True)
class Apart:
    """The product writes to `primary`; the pipeline reads `store`, a replica, and keeps its ledgers elsewhere."""

    primary: Product
    store: Postgres

    def catch_up(self) -> None:
        wait_until_replayed(self.primary.postgres.url, self.store.url)

    def ledger(self, table: str, columns: str) -> list[tuple[object, ...]]:
        with self.store.ledgers.connect() as connection:
            statement = f"SELECT {columns} FROM analytics_pipeline.{table} ORDER BY 1"
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def apart(product: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    primary_url, name = product.postgres.url, f"ledgers_{product.table}"
    product.execute("DROP SCHEMA analytics_pipeline CASCADE")
    with psycopg.connect(primary_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with standby(primary_url) as replica:
                monkeypatch.setenv("DATABASE_URL", replica)
                ledgers = urlunsplit(urlsplit(primary_url)._replace(path=f"/{name}"))
                monkeypatch.setenv("LEDGER_DATABASE_URL", ledgers)
                settings = Settings.load()
                migrate(settings)
                yield Apart(product, postgres(settings))
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _materialise(product: Product, *assets: str, first: int = 1, last: int = 1) -> None:
    tags = {
        "dagster/asset_partition_range_start": str(today() - timedelta(days=first)),
        "dagster/asset_partition_range_end": str(today() - timedelta(days=last)),
    }
    result = product.materialise(*assets, tags=tags)
    assert result.success, failure_text(result)


def test_flows__source_is_a_replica__bring_in_everything_and_write_nothing_there(apart: Apart) -> None:
    product = apart.primary
    product.put(document("a", plan="pro"), document("b", plan="free"))
    add_account(product, 1, "Europe/Kyiv")
    for number in range(3):
        product.execute(
            "INSERT INTO reporting_events (id, name, value, account_id, created_at, updated_at)"
            " VALUES (%s, 'first_response', 1.5, 1, %s, %s)",
            *(number, at(DAY), at(DAY)),
        )
    product.execute("INSERT INTO reporting_events (id, name, created_at) VALUES (9, 'no account', %s)", at(DAY))
    product.add_chat(at(DAY), id=1)
    product.switch_ai_usage(on=True)
    apart.catch_up()

    _materialise(product, "raw_identities", "identity_snapshots", "segment_counts", first=0, last=0)
    _materialise(product, "reporting_events", "reporting_rollups")
    _materialise(product, "duo_chat_events", "code_suggestion_events", "ai_usage_daily")

    rolled = product.clickhouse.query(
        "SELECT sum(count), sum(sum_value) FROM reporting_rollups FINAL"
        " WHERE metric = 'first_response' AND dimension_type = 'account'"
    )
    assert product.history() == {(1, 100): (1, "counted")}
    assert rolled == [(3, 4.5)]
    assert product.clickhouse.query("SELECT sum(occurrences) FROM ai_usage_daily FINAL") == [(1,)]
    assert apart.ledger("segment_membership_counts", "segment_id, environment_id, count") == [(1, 100, 1)]
    assert apart.ledger("identity_loads", "environment_key, status, rows") == [(KEY, "completed", 2)]
    assert apart.ledger("source_copies", "source, rows, refused") == [
        ("code_suggestion_events", 0, 0),
        ("duo_chat_events", 1, 0),
        ("reporting_events", 3, 1),
    ]
    assert apart.ledger("dead_letters", "record_key, reason") == [("9", "the event has no account")]
    assert product.execute("SELECT to_regnamespace('analytics_pipeline')") == [(None,)]


def test_guard__replay_is_paused__refuses_copies_until_the_replica_follows_again(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    product, store = apart.primary, replace(apart.store, lag_seconds=1)
    copy = DayCopy(DUO_CHAT_EVENTS, store, product.clickhouse, "run")
    assert replica_lag(store) == 0
    _run(store, "SELECT pg_wal_replay_pause()")
    _wait_until(lambda: _run(store, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    product.add_chat(at(DAY), id=1)
    _wait_until(lambda: (replica_lag(store) or 0) > 1)

    with pytest.raises(ReplicaBehind, match=r"heavy work waits until it is at most 1 s \(GUARD_REPLICA_LAG_SECONDS\)"):
        copy.copy(DAY, DAY)
    assert product.clickhouse.query("SELECT count() FROM duo_chat_events") == [(0,)]
    assert apart.ledger("source_copies", "day") == []

    _run(store, "SELECT pg_wal_replay_resume()")
    apart.catch_up()
    copy.copy(DAY, DAY)
    assert product.clickhouse.query("SELECT id FROM duo_chat_events") == [(1,)]


def test_guard__a_follower_of_the_source_is_paused__refuses_copies_until_it_follows_again(
    empty_product: Product,
) -> None:
    primary = replace(empty_product.postgres, lag_seconds=1)
    copy = DayCopy(DUO_CHAT_EVENTS, primary, empty_product.clickhouse, "run")
    assert replica_lag(primary) is None
    with standby(primary.url) as url:
        follower = replace(primary, url=url)
        copy.copy(DAY, DAY)
        _run(follower, "SELECT pg_wal_replay_pause()")
        _wait_until(lambda: _run(follower, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
        empty_product.add_chat(at(DAY), id=1)
        _wait_until(lambda: (replica_lag(primary) or 0) > 1.5)

        with pytest.raises(ReplicaBehind) as refusal:
            copy.copy(DAY, DAY)
        assert re.fullmatch(
            r"A replica of the source is [2-9] s behind, and heavy work waits until it is at most 1 s"
            r" \(GUARD_REPLICA_LAG_SECONDS\)\. Nothing of this work was written\. Look at pg_stat_replication on the"
            " primary",
            str(refusal.value),
        )
        assert empty_product.clickhouse.query("SELECT count() FROM duo_chat_events") == [(0,)]
        assert empty_product.execute("SELECT rows FROM analytics_pipeline.source_copies") == [(0,)]

        _run(follower, "SELECT pg_wal_replay_resume()")
        wait_until_replayed(primary.url, url)
        _wait_until(lambda: (replica_lag(primary) or 0) <= 1)
        copy.copy(DAY, DAY)
    assert empty_product.clickhouse.query("SELECT id FROM duo_chat_events") == [(1,)]
    assert replica_lag(primary) is None


def _run(store: Postgres, statement: LiteralString) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return connection.execute(statement).fetchall()


def _wait_until(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.slow
def test_counts__fail_and_ledgers_are_elsewhere__are_noted_there(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    product = apart.primary
    product.put(document("a", plan="pro"))
    apart.catch_up()
    _materialise(product, "raw_identities", "identity_snapshots", first=0, last=0)
    monkeypatch.setattr(refresh, "SECONDS_PER_PROJECT", 0)

    result = product.materialise("segment_counts")

    assert "project 10: counting was stopped after the 0 s" in failure_text(result)
    assert apart.ledger("segment_refreshes", "project_id, status") == [(10, "failed")]


@pytest.mark.slow
def test_looks__source_is_a_replica__find_what_has_changed(apart: Apart) -> None:
    product, store = apart.primary, apart.store
    add_account(product, 1, "Europe/Kyiv")
    apart.catch_up()
    _materialise(product, "reporting_events", "reporting_rollups")
    product.execute(
        "INSERT INTO reporting_events (id, name, account_id, created_at) VALUES (1, 'first_response', 1, %s)", at(DAY)
    )
    product.put(document("a", plan="pro"))
    apart.catch_up()
    settings, now = Settings.load(), at(today(), 23)

    with store.connect() as connection:
        ((in_recovery,),) = connection.execute("SELECT pg_is_in_recovery()").fetchall()
    assert in_recovery
    assert DAY in live(store, product.clickhouse, now, settings.analytics_start_date).copies
    assert lag(store) is None
    assert isinstance(pending_days(store, product.clickhouse, today(), settings.analytics_start_date), str)
    assert changed_projects(store, product.clickhouse, enabled_tenants(store, feature_flags(settings, store))) == []
    _materialise(product, "reporting_events")
    assert DAY not in live(store, product.clickhouse, now, settings.analytics_start_date).copies
    assert lag(store) == timedelta(0)


@pytest.mark.slow
def test_enablement__source_is_a_replica__is_recorded_in_the_ledgers(apart: Apart) -> None:
    product = apart.primary
    product.add_chat(at(DAY))
    product.switch_ai_usage(on=True)
    apart.catch_up()

    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance) as context:
        result = enablement(context)

    assert isinstance(result, dg.SensorResult)
    assert "ai_usage:instance:1:1" in [request.run_key for request in result.run_requests or ()]
    assert ("ai_usage", "instance", "requested") in apart.ledger("enablements", "feature, scope, state")


def test_query__names_both_databases__is_refused_wherever_they_are(product: Product) -> None:
    with pytest.raises(MixedStatement):
        product.postgres.query("SELECT FROM {accounts} JOIN analytics_pipeline.reporting_coverage ON true")


@pytest.mark.slow
def test_export__source_is_a_replica__sends_everything_and_writes_nothing_there(apart: Apart) -> None:
    product, receiver = apart.primary, Receiver()
    product.execute("INSERT INTO event_logs_export_allowlist (event_name) VALUES ('ViewSearch')")
    with product.postgres.connect() as late:
        late.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES ('ViewSearch', 1, 'WEB', '1')")
        add_events(product, 2)
        apart.catch_up()
        own_list = allow_list.allow_list(apart.store)
        with apart.store.ledgers.connect() as connection:
            create(connection, "receiver", 0, "{}", "1")
        _export(apart.store, receiver)
        late.commit()
    apart.catch_up()
    _export(apart.store, receiver)

    assert own_list.names == ("ViewSearch",)
    assert receiver.ids == [2, 3, 1]
    assert apart.ledger("event_logs_scrape_state", "sink, bookmark_id") == [("receiver", 3)]
    assert product.execute("SELECT to_regnamespace('analytics_pipeline')") == [(None,)]


def _export(store: Postgres, receiver: Receiver) -> None:
    run = Run(store, allow_list.allow_list(store), SITE, 10, Deadline.after(60, ""), "run")
    (served,) = export(run, ["receiver"], lambda _: receiver)
    assert (served.status, served.error) == ("served", "")
