"""The checks of reporting: each passes on what the pipeline made, and finds what was broken by hand."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.definitions import defs
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.reporting import audit
from analytics_pipeline.flows.reporting import rollups as rollups_module
from analytics_pipeline.flows.reporting.audit import CopyDifference, copy_differences
from tests import resolved
from tests.flows.reporting.desk import add_account, add_event, build, copy
from tests.product import Product
from tests.thorough import rarely

TODAY = datetime.now(timezone.utc).date()
NOON = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=timezone.utc)
EVENTS, ROLLUPS = "reporting_events", "reporting_rollups"


@pytest.fixture
def desk(empty_product: Product) -> Product:
    """One account in UTC with one event today, copied and rolled up."""
    add_account(empty_product, 1, "Etc/UTC")
    add_event(empty_product, "first_response", NOON, value=10, user_id=7)
    build(empty_product, TODAY, TODAY)
    return empty_product


def outcome(evaluation: dg.AssetCheckEvaluation) -> tuple[bool, list[dict[str, Any]]]:
    found = evaluation.metadata.get("findings")
    records = found.records if isinstance(found, dg.TableMetadataValue) else []
    return evaluation.passed, [dict(record.data) for record in records]


def check(product: Product, asset: str, name: str) -> tuple[bool, list[dict[str, Any]]]:
    (evaluation,) = product.check(asset, name).get_asset_check_evaluations()
    return outcome(evaluation)


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        (EVENTS, "events_equal_source"),
        (EVENTS, "changes_are_followed"),
        *rarely((ROLLUPS, "rollups_equal_events"), (ROLLUPS, "no_impossible_rollups"), (ROLLUPS, "no_uncovered_days")),
    ],
)
def test_checks__of_what_was_just_made__pass_and_say_how_much_they_compared(
    desk: Product, asset: str, name: str
) -> None:
    (evaluation,) = desk.check(asset, name).get_asset_check_evaluations()

    # One day, or one account on it.
    assert (evaluation.passed, evaluation.metadata["compared"].value, evaluation.metadata["found"].value) == (
        True,
        1,
        0,
    )


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        (EVENTS, "events_equal_source"),
        *rarely(
            (EVENTS, "changes_are_followed"),
            (ROLLUPS, "rollups_equal_events"),
            (ROLLUPS, "no_impossible_rollups"),
            (ROLLUPS, "no_uncovered_days"),
        ),
    ],
)
def test_checks__nothing_is_there__warn_that_nothing_was_compared(
    empty_product: Product, asset: str, name: str
) -> None:
    (evaluation,) = empty_product.check(asset, name).get_asset_check_evaluations()

    assert (evaluation.passed, evaluation.severity, evaluation.metadata["compared"].value) == (
        False,
        dg.AssetCheckSeverity.WARN,
        0,
    )
    assert evaluation.description == "Nothing was compared: there is nothing yet that could be"


def test_checks__clickhouse_is_not_configured__warn_that_nothing_was_compared(
    desk: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLICKHOUSE_URL")

    (evaluation,) = desk.check(ROLLUPS, "rollups_equal_events").get_asset_check_evaluations()

    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert evaluation.metadata["status"].value == "skipped: clickhouse_not_configured"


def test_events_equal_source__rows_deleted_there_or_lost_here__are_found(desk: Product) -> None:
    desk.execute("DELETE FROM reporting_events")
    deleted = check(desk, EVENTS, "events_equal_source")
    add_event(desk, "first_response", NOON)
    desk.clickhouse.execute("TRUNCATE TABLE reporting_events")

    day = TODAY.isoformat()
    assert deleted == (False, [{"day": day, "copied": 1, "stored": 1, "source": 0}])
    assert check(desk, EVENTS, "events_equal_source") == (
        False,
        [{"day": day, "copied": 1, "stored": 0, "source": 1}],
    )


def test_copy_differences__of_a_range__are_those_of_each_day_that_was_copied(desk: Product) -> None:
    days = [TODAY - timedelta(days=age) for age in range(4, -1, -1)]
    deleted, lost, refused, never, equal = days
    for number, day in enumerate(days):
        moment = NOON - timedelta(days=4 - number)
        add_event(desk, None if day == refused else "first_response", moment)
        add_event(desk, "reply_time", moment)
    build(desk, days[0], days[-1])
    desk.execute("DELETE FROM reporting_events WHERE created_at::date = %s AND name = 'reply_time'", deleted)
    desk.clickhouse.execute("DELETE FROM reporting_events WHERE toDate(created_at) = {day:Date}", day=lost)
    desk.execute("DELETE FROM analytics_pipeline.source_copies WHERE day = %s", never)

    assert copy_differences(desk.postgres, desk.clickhouse, days) == Audited(
        4,
        {
            deleted: CopyDifference(copied=2, stored=2, source=1),
            lost: CopyDifference(copied=2, stored=0, source=2),
        },
    )
    assert copy_differences(desk.postgres, desk.clickhouse, [equal]) == Audited(1, {})


def test_changes_are_followed__newer_change_than_the_copy__is_found(desk: Product) -> None:
    add_event(desk, "first_response", NOON, updated_at=datetime.now(timezone.utc) + timedelta(hours=1))

    passed, (finding,) = check(desk, EVENTS, "changes_are_followed")

    assert not passed
    assert 3_500 < finding["behind_seconds"] < 3_700


def test_changes_are_followed__nothing_is_copied__is_asked_by_a_schedule(desk: Product) -> None:
    """A sensor that is stuck asks for no copy, with which the check would run."""
    definitions = defs()
    job = definitions.resolve_job_def(definitions.resolve_schedule_def("reporting_lag").job_name)
    add_event(desk, "first_response", NOON, updated_at=datetime.now(timezone.utc) + timedelta(hours=1))

    with dg.DagsterInstance.ephemeral() as instance:
        found = job.execute_in_process(
            instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        )

    assert lag_tick() is None
    assert [(one.check_name, one.passed) for one in found.get_asset_check_evaluations()] == [
        ("changes_are_followed", False)
    ]
    assert found.get_asset_materialization_events() == []


def test_lag__nothing_is_followed__is_not_asked(desk: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    add_account(desk, 1, None)
    assert lag_tick() == "no account has a reporting time zone, so nothing is followed"

    desk.execute("DROP TABLE accounts CASCADE")
    assert (lag_tick() or "").startswith('skipped: Postgres: relation "accounts" does not exist')

    monkeypatch.delenv("CLICKHOUSE_URL")
    assert lag_tick() == "skipped: clickhouse_not_configured"


def lag_tick() -> str | None:
    """Why the schedule asks for nothing; None when it asks."""
    repository = resolved.repository()
    context = dg.build_schedule_context(repository_def=repository)
    return repository.get_schedule_def("reporting_lag").evaluate_tick(context).skip_message


def test_rollups_equal_events__wrong_missing_and_surplus_rows__are_each_found(desk: Product) -> None:
    desk.clickhouse.execute(
        "ALTER TABLE reporting_rollups UPDATE count = 5 WHERE dimension_type = 'account' SETTINGS mutations_sync = 1"
    )
    desk.clickhouse.execute("DELETE FROM reporting_rollups WHERE dimension_type = 'agent'")
    desk.clickhouse.insert_rows(
        "reporting_rollups",
        ["account_id", "date", "dimension_type", "dimension_id", "metric", "count"],
        [[1, TODAY, "inbox", 7, "first_response", 1]],
    )

    day = TODAY.isoformat()
    common = {"day": day, "account": 1, "metric": "first_response"}
    assert check(desk, ROLLUPS, "rollups_equal_events") == (
        False,
        [
            {**common, "dimension": "account", "dimension_id": 1, "stored": 5, "raw": 1},
            {**common, "dimension": "agent", "dimension_id": 7, "stored": None, "raw": 1},
            {**common, "dimension": "inbox", "dimension_id": 7, "stored": 1, "raw": None},
        ],
    )


@pytest.mark.slow
def test_rollups_equal_events__sum_is_wrong__is_found(desk: Product) -> None:
    desk.clickhouse.execute("ALTER TABLE reporting_rollups UPDATE sum_value = 11 WHERE 1 SETTINGS mutations_sync = 1")

    passed, findings = check(desk, ROLLUPS, "rollups_equal_events")

    assert (passed, len(findings)) == (False, 2)


def test_rollups_equal_events__statement_that_makes_rollups_is_wrong__is_found(
    desk: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that computes rollups with the statement that made them could find nothing but old ones."""
    right = rollups_module.rollup_select
    monkeypatch.setattr(
        rollups_module,
        "rollup_select",
        lambda registry, bounds: right(registry, bounds).replace("count() AS events", "count() + 1 AS events"),
    )
    build(desk, TODAY, TODAY)

    passed, findings = check(desk, ROLLUPS, "rollups_equal_events")

    assert (passed, [(one["dimension"], one["stored"], one["raw"]) for one in findings]) == (
        False,
        [("account", 2, 1), ("agent", 2, 1)],
    )


@pytest.mark.slow
def test_rollups_equal_events__zone_has_changed_since__compares_the_day_that_was_computed(desk: Product) -> None:
    add_account(desk, 1, "Pacific/Apia")

    assert check(desk, ROLLUPS, "rollups_equal_events") == (True, [])


@pytest.mark.slow
def test_rollups_equal_events__copy_lands_meanwhile__is_no_difference(desk: Product) -> None:
    """It is in ClickHouse, and waits at a locked ledger to say so."""
    add_event(desk, "first_response", NOON, value=20, user_id=7)
    with ThreadPoolExecutor() as threads:
        with desk.postgres.connect() as ledger:
            ledger.execute("LOCK TABLE analytics_pipeline.source_copies IN EXCLUSIVE MODE")
            copied = threads.submit(copy, desk, TODAY, TODAY)
            _until(lambda: desk.clickhouse.scalar("SELECT count() FROM reporting_events") == 2)
            checked = threads.submit(check, desk, ROLLUPS, "rollups_equal_events")
            _until(lambda: _waiting_for_a_lease(desk) == 1)
        copied.result()

        # No difference, and no pass either: the date is about to be computed again.
        assert checked.result() == (False, [])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wrong"), [("rollups_equal_events", 2), *rarely(("no_impossible_rollups", 1))])
def test_checks__rollups_stay_leased__are_skipped_and_say_so(
    desk: Product, monkeypatch: pytest.MonkeyPatch, name: str, wrong: int
) -> None:
    monkeypatch.setattr(audit, "_PATIENCE", timedelta(milliseconds=50))
    desk.clickhouse.execute("ALTER TABLE reporting_rollups UPDATE count = 0 WHERE 1 SETTINGS mutations_sync = 1")

    with desk.postgres.lease("reporting_rollups"):
        (skipped,) = desk.check(ROLLUPS, name).get_asset_check_evaluations()
    passed, findings = check(desk, ROLLUPS, name)

    assert (skipped.passed, skipped.severity, skipped.metadata["status"].value, skipped.description) == (
        False,
        dg.AssetCheckSeverity.WARN,
        "skipped: lease_held",
        "Nothing was compared: another run is working on reporting_rollups and was left to it; try again when it has"
        " ended",
    )
    assert (passed, len(findings)) == (False, wrong)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _waiting_for_a_lease(product: Product) -> int:
    ((waiting,),) = product.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert isinstance(waiting, int)
    return waiting


def test_no_impossible_rollups__rows_that_nobody_vouches_for__are_found(desk: Product) -> None:
    desk.execute("DELETE FROM analytics_pipeline.reporting_coverage")

    assert check(desk, ROLLUPS, "no_impossible_rollups") == (
        False,
        [{"day": TODAY.isoformat(), "account": 1, "rows": 2, "smallest_count": 1}],
    )


def test_no_uncovered_days__hole_between_covered_days__is_found(desk: Product) -> None:
    build(desk, TODAY - timedelta(days=3), TODAY)
    hole: date = TODAY - timedelta(days=2)
    desk.execute("DELETE FROM analytics_pipeline.reporting_coverage WHERE date = %s", hole)

    assert check(desk, ROLLUPS, "no_uncovered_days") == (False, [{"day": hole.isoformat(), "account": 1}])


@pytest.mark.slow
def test_no_uncovered_days__of_a_run__looks_at_its_days_and_the_week_around_them(desk: Product) -> None:
    for age in (2, 20, 22):
        desk.execute(
            "INSERT INTO analytics_pipeline.reporting_coverage SELECT (jsonb_populate_record(day, jsonb_build_object("
            "'date', date - %s))).* FROM analytics_pipeline.reporting_coverage AS day WHERE date = %s",
            age,
            TODAY,
        )

    evaluations = desk.materialise(ROLLUPS, day=TODAY, checks=True).get_asset_check_evaluations()

    holes = [{"day": (TODAY - timedelta(days=age)).isoformat(), "account": 1} for age in (21, *range(19, 2, -1), 1)]
    assert {e.check_name: outcome(e) for e in evaluations}["no_uncovered_days"] == (False, holes[-1:])
    assert check(desk, ROLLUPS, "no_uncovered_days") == (False, holes)


@pytest.mark.slow
def test_checks__of_a_range_run__look_at_every_day(desk: Product) -> None:
    result = desk.materialise(
        EVENTS,
        checks=True,
        tags={
            "dagster/asset_partition_range_start": (TODAY - timedelta(days=2)).isoformat(),
            "dagster/asset_partition_range_end": TODAY.isoformat(),
        },
    )

    passed = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert passed == {"events_equal_source": True, "changes_are_followed": True}
