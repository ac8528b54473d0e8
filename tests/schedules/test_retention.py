"""Everything that grows is kept for some days, or for ever for a reason; the operator's guide has a line for each."""

import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from analytics_pipeline.flows.check_outcomes.ledger import Check, CheckLedger, Found
from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.product_events import letters
from analytics_pipeline.flows.retention.expired import expiring, remove_expired
from analytics_pipeline.flows.usage_export.deliveries import forget_old
from analytics_pipeline.orchestration.old_runs import remove_old_runs
from analytics_pipeline.schedules.retention import retention
from tests import resolved
from tests.product import Product, document, today

DAY = today()
ROOT = Path(__file__).parents[2]


def old(days: int) -> datetime:
    return datetime.now(timezone.utc) - timedelta(days=days)


def add_letter(product: Product, key: str, days: int, flow: str = "reporting_events") -> None:
    product.execute(
        "INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id, recorded_at)"
        " VALUES (%s, 'unit', %s, 'reason', '{}', 'run', %s)",
        *(flow, key, old(days)),
    )


def add_load(product: Product, day: date) -> None:
    product.execute(
        "INSERT INTO analytics_pipeline.identity_loads (snapshot_date, environment_key, environment_id, project_id,"
        " organisation_id, status, run_id, started_at) VALUES (%s, 'key', 1, 1, 1, 'completed', 'run', now())",
        day,
    )


def add_refresh(product: Product, project: int, day: date) -> None:
    product.execute(
        "INSERT INTO analytics_pipeline.segment_refreshes (snapshot_date, project_id, organisation_id, status, run_id,"
        " started_at) VALUES (%s, %s, 1, 'completed', 'run', now())",
        *(day, project),
    )


def add_token(product: Product, name: str, revoked: datetime | None, expires: datetime | None) -> None:
    product.execute(
        "INSERT INTO analytics_pipeline.api_tokens (name, token_hash, scope, revoked_at, expires_at)"
        " VALUES (%s, sha256(%s), 'read', %s, %s)",
        *(name, name.encode(), revoked, expires),
    )


def add_past(product: Product, until: int, finished: datetime | None) -> None:
    product.execute(
        "INSERT INTO analytics_pipeline.event_logs_export_past (sink, until_id, requested_at, finished_at)"
        " VALUES ('own', %s, %s, %s)",
        *(until, old(900), finished),
    )


def kept(product: Product, table: str, column: str) -> list[Any]:
    return [value for (value,) in product.execute(f"SELECT {column} FROM analytics_pipeline.{table} ORDER BY 1")]


def test_remove_expired__rows_of_all_ages__removes_what_is_old_and_not_needed(empty_product: Product) -> None:
    for key, days in (("old", 91), ("young", 89)):
        add_letter(empty_product, key, days)
    for days in (501, 499):
        add_load(empty_product, DAY - timedelta(days=days))
        add_refresh(empty_product, 1, DAY - timedelta(days=days))
    add_refresh(empty_product, 2, DAY - timedelta(days=600))
    for name, revoked, expires in (
        ("revoked", old(401), None),
        ("revoked lately", old(399), old(401)),
        ("expired", None, old(401)),
        ("valid", None, None),
    ):
        add_token(empty_product, name, revoked, expires)
    for until, finished in ((1, old(401)), (2, old(399)), (3, None)):
        add_past(empty_product, until, finished)
    for name, flow, day, days in (
        ("old", "reporting", DAY, 401),
        ("young", "reporting", DAY - timedelta(days=500), 399),
        ("of no snapshot", "identities", DAY - timedelta(days=496), 1),
        ("of a snapshot", "identities", DAY - timedelta(days=494), 1),
        ("of everything", "identities", None, 1),
    ):
        check = CheckLedger(empty_product.postgres, Check(flow, "asset", name, "error"), "run")
        check.record(old(days), [Found(day, "failed", 1, 1)])
    # Snapshots are kept longer than ledgers otherwise are.
    what = expiring(dead_letter_days=90, snapshot_days=493)

    assert remove_expired(empty_product.postgres, what) == {
        "dead_letters": 1,
        "identity_loads": 1,
        "segment_refreshes": 1,
        "api_tokens": 2,
        "event_logs_export_past": 1,
        "check_outcomes": 2,
    }
    assert set(remove_expired(empty_product.postgres, what).values()) == {0}
    assert kept(empty_product, "dead_letters", "record_key") == ["young"]
    assert kept(empty_product, "identity_loads", "snapshot_date") == [DAY - timedelta(days=499)]
    assert kept(empty_product, "segment_refreshes", "project_id") == [1, 2]
    assert kept(empty_product, "api_tokens", "name") == ["revoked lately", "valid"]
    assert kept(empty_product, "event_logs_export_past", "until_id") == [2, 3]
    assert kept(empty_product, "check_outcomes", "check_name") == ["of a snapshot", "of everything", "young"]


def test_ledgers__of_a_day_are_gone__it_is_brought_in_again_and_not_twice(product: Product) -> None:
    product.put(document("alice", plan="pro"), document("bob", plan="free"))
    assert product.materialise().success
    before = product.snapshot(), product.history(), product.loads()
    product.execute("UPDATE analytics_pipeline.identity_loads SET snapshot_date = snapshot_date - 401")
    remove_expired(product.postgres, expiring(90, 30))
    assert product.loads() == {}

    assert product.materialise("identity_snapshots", "segment_counts").success
    assert (product.snapshot(), product.history(), product.loads()) == before


def test_dead_letters_of_product_events__older_than_14_days_or_too_many__go(empty_product: Product) -> None:
    def keep(*keys: str) -> None:
        with empty_product.postgres.ledgers.connect() as connection:
            letters.keep(connection, 1, [DeadLetter(key, "reason", "{}") for key in keys], "request")

    keep("old", "young")
    empty_product.execute(
        "UPDATE analytics_pipeline.dead_letters SET recorded_at = now() - make_interval(days =>"
        " CASE record_key WHEN 'old' THEN 15 ELSE 13 END)"
    )

    keep("new")

    assert kept(empty_product, "dead_letters", "record_key") == ["new", "young"]


def test_deliveries__older_than_30_days__go_unless_they_are_on_their_way(empty_product: Product) -> None:
    for first, days in ((1, 31), (2, 29), (3, 31)):
        empty_product.execute(
            "INSERT INTO analytics_pipeline.export_deliveries (sink, kind, first_id, last_id, records, status,"
            " started_at) VALUES ('own', 'live', %s, %s, 1, 'delivered', %s)",
            *(first, first, old(days)),
        )
    empty_product.execute(
        "INSERT INTO analytics_pipeline.event_logs_scrape_state (sink, bookmark_id, planned_delivery, planned_ids,"
        " planned_to) SELECT 'own', 0, id, '{[3,3]}', 3 FROM analytics_pipeline.export_deliveries WHERE first_id = 3"
    )

    with empty_product.postgres.ledgers.connect() as connection:
        forget_old(connection)

    assert kept(empty_product, "export_deliveries", "first_id") == [2, 3]


def test_old_runs__superseded__go_and_the_last_of_each_day_stays(empty_product: Product) -> None:
    asset = dg.AssetKey("duo_chat_events")
    with dg.DagsterInstance.ephemeral() as instance:

        def run(day: date) -> dg.DagsterRun:
            tags = {".dagster/repository": "ours"}
            return resolved.run(instance, [asset], partition_key=day.isoformat(), tags=tags).dagster_run

        first, second, yesterday = run(DAY), run(DAY), run(DAY - timedelta(days=1))
        now = datetime.now(timezone.utc)
        young, own = run(DAY), run(DAY)

        assert remove_old_runs(instance, now - timedelta(hours=1), own) == 0
        assert [remove_old_runs(instance, now, own) for _ in range(2)] == [2, 0]

        left = {one.run_id for one in instance.get_runs()}
        assert left == {yesterday.run_id, young.run_id, own.run_id}
        assert not left & {first.run_id, second.run_id}
        assert instance.get_materialized_partitions(asset) == {
            DAY.isoformat(),
            (DAY - timedelta(days=1)).isoformat(),
        }


def test_old_runs__of_another_code_location__are_left_alone() -> None:
    def run(location: str | None) -> dg.DagsterRun:
        """A run that is over, as the daemon launches it into a code location."""
        origin = location and RemoteJobOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), "work"
        )
        made = dg.DagsterRun("work", status=dg.DagsterRunStatus.SUCCESS, remote_job_origin=origin or None)
        return instance.add_run(made)

    with dg.DagsterInstance.ephemeral() as instance:
        theirs, nobodys, _, own = (run(location) for location in ("theirs", None, "ours", "ours"))
        later = datetime.now(timezone.utc) + timedelta(hours=1)

        assert [remove_old_runs(instance, later, one) for one in (nobodys, own, own)] == [0, 1, 0]
        assert {one.run_id for one in instance.get_runs()} == {own.run_id, nobodys.run_id, theirs.run_id}


def test_job__of_the_schedule__removes_and_tells_how_many(empty_product: Product) -> None:
    add_letter(empty_product, "old", 91)

    ledger = empty_product.postgres
    for name, flow in (("kept", "reporting"), ("removed", "reporting"), ("elsewhere", "another")):
        check = CheckLedger(ledger, Check(flow, "reporting_rollups", name, "error"), "run")
        check.record(check.begin([DAY]), [Found(DAY, "failed", 2, 1)])
    kept_check = dg.AssetCheckKey(dg.AssetKey("reporting_rollups"), "kept")

    with dg.DagsterInstance.ephemeral() as instance:
        result = retention([kept_check]).execute_in_process(instance=instance)

    assert result.output_for_node("remove_what_expired") == {
        "dead_letters": 1,
        "identity_loads": 0,
        "segment_refreshes": 0,
        "api_tokens": 0,
        "event_logs_export_past": 0,
        "check_outcomes": 1,
        "dagster_runs": 0,
    }
    assert kept(empty_product, "check_outcomes", "check_name") == ["elsewhere", "kept"]


def test_ticks__by_our_dagster_yaml__are_purged() -> None:
    kept_days = yaml.safe_load((ROOT / "dagster.yaml").read_text())["retention"]

    with dg.instance_for_test(overrides={"retention": kept_days}) as instance:
        found = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    # Of a tick that has only begun nothing is known yet; there is one at a time.
    ended = [days for status, days in found.items() if status.value != "STARTED"]
    assert sorted(ended) == [3, 30, 30]


def test_every_table_of_ours__has_a_line_in_the_guide(empty_product: Product) -> None:
    guide = (ROOT / "docs" / "operators-guide.md").read_text()
    section = guide.partition("\n## Retention and clean-up\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    postgres = empty_product.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'analytics_pipeline'::regnamespace AND relkind = 'r'"
    )
    clickhouse = empty_product.clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    )
    # Copies of before a migration have a line together.
    ours = {
        name
        for (name,) in [*postgres, *clickhouse]
        if not (name.startswith(("schema_versions", "alembic")) or name.endswith("_by_day"))
    }

    assert len(ours) > 30
    assert ours - named == set()
