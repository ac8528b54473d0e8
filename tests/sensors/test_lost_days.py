"""ClickHouse or Postgres loses what it held: the days are noticed, told of, and brought in again."""

from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
import pytest
import time_machine

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.reads import AiUsageReads, Scope
from tests.e2e.test_kill import Death, die
from tests.flows.reporting.desk import (
    add_account,
    add_event,
    ask,
    build,
    compute,
    copy,
    covered,
    reports,
    rollups,
)
from tests.product import Product, today
from tests.sensors.enablement import assert_complete, late_rows, launch, occurrences, settle
from tests.sensors.test_late_rows import follow, hourly, noon, tick
from tests.thorough import rarely

OLD = today() - timedelta(days=6)
WEEK = [OLD + timedelta(days=number) for number in range(7)]
LEDGERS = ("source_copies", "held_days", "reporting_coverage", "watermarks", "ai_usage_days", "enablements")


def drop(product: Product, table: str, day: date) -> None:
    """A day's partition, or of a table by month the day's rows."""
    change = f"DROP PARTITION ID '{day:%Y%m%d}'" if table.endswith("_events") else f"DELETE WHERE date = '{day}'"
    product.clickhouse.execute(f"ALTER TABLE {table} {change} SETTINGS mutations_sync = 2")


def remember(product: Product, *relations: str) -> Callable[[], None]:
    """What Postgres holds now; calling it brings Postgres back to this moment."""
    for number, relation in enumerate(relations):
        product.execute(f"CREATE TABLE before_{number} AS TABLE {relation}")

    def restore() -> None:
        for number, relation in enumerate(relations):
            product.execute(f"TRUNCATE {relation}")
            product.execute(f"INSERT INTO {relation} OVERRIDING SYSTEM VALUE TABLE before_{number}")

    return restore


def our_ledgers() -> list[str]:
    return [f"analytics_pipeline.{name}" for name in LEDGERS]


@pytest.fixture
def week(empty_product: Product) -> Product:
    """A week of events of an account in UTC, copied and rolled up to rest."""
    add_account(empty_product, 1, "Etc/UTC")
    for number, day in enumerate(WEEK):
        add_event(empty_product, "reply_time", noon(day), value=number + 1, updated_at=noon(day))
    build(empty_product, OLD, today())
    follow(empty_product)
    return empty_product


def everything(zone: str = "Etc/UTC") -> dict[tuple[int, str, str, int, str], tuple[int, float, float]]:
    assert zone in ("Etc/UTC", "Europe/Berlin")  # noon is the same date in both
    return {(1, str(day), "account", 1, "reply_time"): (1, number + 1, 0) for number, day in enumerate(WEEK)}


def whole_week(product: Product) -> tuple[object, str, tuple[tuple[date, date], ...]]:
    """The account's number of replies in the week, where it came from, and the days that are missing in it."""
    query = ask(f"{OLD} 00:00", f"{today() + timedelta(days=1)} 00:00")
    answer = reports(product).timeseries(query, "reply_time", "year")
    count = sum(point.count or 0 for point in answer.value)
    return count, answer.source, answer.missing


def test_events__partition_is_dropped__readers_say_so_and_the_sensor_copies_it_again(week: Product) -> None:
    assert whole_week(week) == (7, "rollup", ())

    drop(week, "reporting_events", WEEK[2])

    # Before anything has run: the rollups are right, but nobody claims that nothing is missing.
    assert whole_week(week) == (7, "rollup", ((WEEK[2], WEEK[2]),))
    assert follow(week)[0] == [("reporting_events", str(WEEK[2]), str(WEEK[2]))]
    assert rollups(week) == everything()
    assert whole_week(week) == (7, "rollup", ())
    assert week.clickhouse.scalar("SELECT count() FROM reporting_events") == 7


@pytest.mark.slow
def test_events__partition_is_dropped_and_the_zone_changes__coverage_is_not_complete_and_all_ends_well(
    week: Product,
) -> None:
    drop(week, "reporting_events", WEEK[2])
    add_account(week, 1, "Europe/Berlin")

    compute(week, OLD, today())

    assert (1, str(WEEK[2]), "Europe/Berlin", False) in covered(week)
    assert whole_week(week)[2] == ((WEEK[2], WEEK[2]),)
    follow(week)
    assert rollups(week) == everything("Europe/Berlin")
    assert (1, str(WEEK[2]), "Europe/Berlin", True) in covered(week)


def test_rollups__day_is_dropped__readers_read_the_events_and_the_sensor_computes_it_again(
    week: Product,
) -> None:
    drop(week, "reporting_rollups", WEEK[2])

    assert whole_week(week) == (7, "mixed", ())
    assert follow(week) == [[("reporting_rollups", str(WEEK[2]), str(WEEK[2]))]]
    assert rollups(week) == everything()
    assert whole_week(week) == (7, "rollup", ())


@pytest.mark.slow
def test_clickhouse__lost_everything__is_brought_in_from_the_first_day_that_ever_was(week: Product) -> None:
    for table in ("reporting_events", "reporting_rollups", "reporting_day_bounds"):
        week.clickhouse.execute(f"TRUNCATE TABLE {table}")

    follow(week)

    assert rollups(week) == everything()


def test_clickhouse__older_backup_with_as_many_rows__is_found_by_the_hourly_schedule(week: Product) -> None:
    week.clickhouse.execute("CREATE TABLE backup AS reporting_events")
    week.clickhouse.execute("INSERT INTO backup SELECT * FROM reporting_events")
    day = WEEK[3]
    week.execute("UPDATE reporting_events SET value = 50, updated_at = now() WHERE value = 4")
    follow(week)
    fresh = everything() | {(1, str(day), "account", 1, "reply_time"): (1, 50, 0)}
    assert rollups(week) == fresh
    week.clickhouse.execute(f"ALTER TABLE reporting_events REPLACE PARTITION ID '{day:%Y%m%d}' FROM backup")

    hourly(noon(today()))
    follow(week)

    assert week.clickhouse.scalar("SELECT max(value) FROM reporting_events") == 50
    assert rollups(week) == fresh


def test_postgres__goes_back_an_hour__clickhouse_follows(week: Product) -> None:
    restore = remember(week, "reporting_events", *our_ledgers())
    week.execute("UPDATE reporting_events SET value = 50, updated_at = now() WHERE value = 4")
    week.execute("DELETE FROM reporting_events WHERE value = 2")
    add_event(week, "reply_time", noon(WEEK[5]), value=9, updated_at=noon(today()))
    add_account(week, 1, "Europe/Berlin")
    copy(week, OLD, today())
    compute(week, OLD, today())
    assert rollups(week) != everything()

    restore()
    add_account(week, 1, "Etc/UTC")
    with time_machine.travel(noon(today()) + timedelta(hours=13)):
        hourly(noon(today()) + timedelta(hours=13))
    follow(week)

    assert rollups(week) == everything()
    assert {zone for _, _, zone, _ in covered(week)} == {"Etc/UTC"}
    assert whole_week(week) == (7, "rollup", ())


_SWAP = "analytics_pipeline.resources.clickhouse.client:ClickHouse.replace_partitions"
_FIGURES_SWAP = "analytics_pipeline.flows.held_tables:MonthTable.show"


def test_copy__killed_between_swap_and_ledger_and_the_source_goes_back__leaves_no_ghost(week: Product) -> None:
    day = WEEK[4]
    add_event(week, "reply_time", noon(day), id=1_000, value=9, updated_at=noon(day))
    die(Death("reporting_events", "after", _SWAP), day)
    assert week.clickhouse.scalar("SELECT count() FROM reporting_events") == 8
    # By the source the ledger is right again: no time stamp and no number of rows tells of the ghost.
    week.execute("DELETE FROM reporting_events WHERE id = 1000")

    assert whole_week(week)[2] == ((day, day),)
    follow(week)

    assert week.clickhouse.scalar("SELECT count() FROM reporting_events") == 7
    assert rollups(week) == everything()


@pytest.mark.slow
def test_rollups__killed_between_swap_and_ledger_and_the_source_goes_back__are_those_of_the_source(
    week: Product,
) -> None:
    day = WEEK[4]
    add_event(week, "reply_time", noon(day), id=1_000, value=9, updated_at=noon(day))
    assert week.materialise("reporting_events", day=day).success
    die(Death("reporting_rollups", "before", "analytics_pipeline.flows.reporting.ledger:record"), day)
    week.execute("DELETE FROM reporting_events WHERE id = 1000")

    hourly(noon(today()))
    assert week.materialise("reporting_events", day=day).success
    follow(week)

    assert rollups(week) == everything()
    assert whole_week(week) == (7, "rollup", ())


@pytest.fixture
def usage(empty_product: Product, instance: dg.DagsterInstance) -> Product:
    """Four days of AI events, brought in to rest."""
    for day in WEEK[-4:]:
        empty_product.add_chat(noon(day), created_at=noon(day))
        empty_product.add_suggestion(noon(day), created_at=noon(day))
    empty_product.switch_ai_usage(on=True)
    settle(instance)
    return empty_product


def follow_usage(instance: dg.DagsterInstance) -> list[str]:
    """Let the sensor's runs go on until it asks for none; returns the first day of each."""
    found: list[str] = []
    for _ in range(5):
        requests = late_rows(instance)
        if not requests:
            return found
        for request in requests:
            found.append(request.tags["dagster/asset_partition_range_start"])
            assert launch(instance, request).success
    raise AssertionError(f"the sensor never comes to rest: {found}")


def missing(product: Product) -> list[tuple[date, date]]:
    return AiUsageReads(product.clickhouse, product.postgres).missing(Scope("", WEEK[-4], today()))


@pytest.mark.parametrize("table", ["duo_chat_events", *rarely("code_suggestion_events", "ai_usage_daily")])
def test_usage__day_is_dropped__is_brought_in_again(
    usage: Product,
    instance: dg.DagsterInstance,
    table: str,
) -> None:
    drop(usage, table, WEEK[-3])
    assert missing(usage) == ([(WEEK[-3], WEEK[-3])] if table == "ai_usage_daily" else [])

    assert follow_usage(instance) == [str(WEEK[-3])]

    assert_complete(usage)
    assert missing(usage) == []


@pytest.mark.slow
def test_usage__counted_after_the_events_were_lost__are_missing_until_they_are_back(
    usage: Product,
    instance: dg.DagsterInstance,
) -> None:
    drop(usage, "duo_chat_events", WEEK[-3])

    assert usage.materialise("ai_usage_daily", day=WEEK[-3]).success

    assert occurrences(usage) == 7
    assert missing(usage) == [(WEEK[-3], WEEK[-3])]
    follow_usage(instance)
    assert_complete(usage)
    assert missing(usage) == []


@pytest.mark.slow
@pytest.mark.parametrize(("asset", "swap"), [("ai_usage_daily", _FIGURES_SWAP), *rarely(("duo_chat_events", _SWAP))])
def test_usage__killed_between_swap_and_ledger_and_the_source_goes_back__leaves_no_ghost(
    usage: Product,
    instance: dg.DagsterInstance,
    asset: str,
    swap: str,
) -> None:
    day = WEEK[-3]
    usage.add_chat(noon(day), id=1_000, created_at=noon(day))
    if asset == "ai_usage_daily":
        assert usage.materialise("duo_chat_events", day=day).success
    die(Death(asset, "after", swap), day)
    usage.execute("DELETE FROM ai_duo_chat_events WHERE id = 1000")
    if asset == "ai_usage_daily":
        assert missing(usage) == [(day, day)]
        assert usage.materialise("duo_chat_events", day=day).success

    follow_usage(instance)

    assert_complete(usage)
    assert missing(usage) == []


def test_tick__clickhouse_does_not_answer__is_skipped_with_the_reason(
    week: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", "http://somebody:secret@127.0.0.1:9/analytics")
    assert Settings.load().clickhouse_url is not None

    said = tick()

    assert isinstance(said, str)
    assert said.startswith("skipped: ClickHouse at http://127.0.0.1:9/analytics: the server does not answer")
    assert "secret" not in said
