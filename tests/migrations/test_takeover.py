"""Tables of figures by day become tables by month: with every row, also after a death, and never by halves."""

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.migrations import FIGURES_LEASES, migrate
from analytics_pipeline.migrations import clickhouse as clickhouse_migrations
from analytics_pipeline.migrations.clickhouse.takeover import TABLES, TakeoverFailed, take_over
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres
from tests.thorough import rarely

_PATIENCE = timedelta(milliseconds=100)
NAMES = [table.name for table in TABLES]
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
DAYS = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)]
BOUNDS: list[list[Any]] = [[account, day, "UTC", NOON, NOON] for account in (1, 2) for day in DAYS]
ROLLUPS: list[list[Any]] = [
    [1, day, "account", 1, "resolutions", count, 1.5, 0.5, "UTC", NOON] for count, day in enumerate(DAYS, 1)
]
USAGE: list[list[Any]] = [[day, "chat", "asked", 7, "1/", "", count, 0, NOON] for count, day in enumerate(DAYS, 1)]


class _Died(Exception):
    """The process ends here."""


@pytest.fixture
def by_day(clickhouse: ClickHouse) -> ClickHouse:
    """Figures of days in two years, in tables by day, as they were before."""
    clickhouse_migrations.migrate(clickhouse, "pre")
    for table, rows in zip(TABLES, (BOUNDS, ROLLUPS, USAGE), strict=True):
        columns = [*table.columns, *(["computed_at"] if table.name == "reporting_rollups" else [])]
        clickhouse.insert_rows(table.name, columns, rows)
    return clickhouse


def _rows(clickhouse: ClickHouse, final: str = "FINAL", suffix: str = "") -> list[list[tuple[Any, ...]]]:
    return [
        clickhouse.query(f"SELECT {', '.join(table.columns)} FROM {table.name}{suffix} {final} ORDER BY ALL")
        for table in TABLES
    ]


def _layouts(clickhouse: ClickHouse) -> dict[str, str]:
    rows = clickhouse.query(
        "SELECT name, partition_key FROM system.tables WHERE database = currentDatabase()"
        " AND match(name, '^(reporting_(rollups|day_bounds)|ai_usage_daily)') ORDER BY name"
    )
    return dict(rows)


TAKEN_OVER = {
    **dict.fromkeys(NAMES, "toYYYYMM(date)"),
    **{f"{name}_by_day": "date" for name in NAMES},
}


def test_take_over__days_of_two_years__are_all_there_by_month(by_day: ClickHouse) -> None:
    before = _rows(by_day, final="")

    assert take_over(by_day) == NAMES

    assert _rows(by_day) == _rows(by_day, final="", suffix="_by_day") == before
    assert _layouts(by_day) == TAKEN_OVER
    assert [len(rows) for rows in before] == [8, 4, 4]


def test_take_over__twice__the_second_does_nothing(by_day: ClickHouse) -> None:
    take_over(by_day)
    before = _rows(by_day)

    assert take_over(by_day) == []

    assert (_rows(by_day), _layouts(by_day)) == (before, TAKEN_OVER)


@pytest.mark.parametrize("statement", [*rarely("TRUNCATE", "INSERT"), "EXCHANGE", *rarely("RENAME")])
def test_take_over__dies_before_a_statement__the_next_one_finishes(
    by_day: ClickHouse, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    before = _rows(by_day, final="")
    execute = ClickHouse.execute
    seen: list[str] = []

    def dying(self: ClickHouse, sql: str, **parameters: Any) -> None:
        seen.extend([sql] if sql.startswith(statement) else [])
        # The second of its kind: the first table, or the first month, is done by then.
        if len(seen) == 2:
            raise _Died
        execute(self, sql, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr(ClickHouse, "execute", dying)
        with pytest.raises(_Died):
            take_over(by_day)

    assert _rows(by_day, final="") == before
    take_over(by_day)
    assert (_rows(by_day), _layouts(by_day)) == (before, TAKEN_OVER)


def test_take_over__a_row_changes_meanwhile__is_refused_and_the_table_stays(
    by_day: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = ClickHouse.execute

    def disturbed(self: ClickHouse, sql: str, **parameters: Any) -> None:
        execute(self, sql, **parameters)
        if sql.startswith("INSERT") and parameters.get("month") == 202602:
            execute(self, "INSERT INTO reporting_day_bounds SELECT 3, '2026-02-01', 'UTC', now64(6), now64(6)")

    monkeypatch.setattr(ClickHouse, "execute", disturbed)

    with pytest.raises(TakeoverFailed, match="Stop it and run: analytics-pipeline migrate post"):
        take_over(by_day)
    assert _layouts(by_day)["reporting_day_bounds"] == "date"
    assert by_day.scalar("SELECT count() FROM reporting_day_bounds") == len(BOUNDS) + 1


def test_tables_by_day__code_that_reads_by_month__is_told_to_migrate(by_day: ClickHouse) -> None:
    with pytest.raises(ClickHouseError) as refusal:
        by_day.query("SELECT count() FROM reporting_rollups FINAL")

    assert "analytics-pipeline migrate all" in reason_of(refusal.value)


def test_tables_by_month__code_that_writes_by_day__fails_loudly(by_day: ClickHouse) -> None:
    take_over(by_day)

    for table in (TABLES[0], TABLES[2]):
        with by_day.staging(table.name) as staging, pytest.raises(ClickHouseError, match="has_a_version"):
            by_day.execute(
                f"INSERT INTO {staging} ({', '.join(table.columns)})"
                f" SELECT {', '.join(table.columns)} FROM {table.name}_by_day"
            )


@pytest.mark.parametrize("lease", [FIGURES_LEASES[0], *rarely(*FIGURES_LEASES[1:])])
def test_migrate_post__figures_are_being_written__waits_for_the_run(
    clickhouse: ClickHouse, store: Postgres, monkeypatch: pytest.MonkeyPatch, lease: str
) -> None:
    migrate(Settings.load(), ["pre"])
    monkeypatch.setattr("analytics_pipeline.migrations._PATIENCE", _PATIENCE)

    with store.lease(lease), pytest.raises(LeaseHeld, match=lease):
        migrate(Settings.load(), ["post"])

    assert _layouts(clickhouse)["reporting_rollups"] == "date"
