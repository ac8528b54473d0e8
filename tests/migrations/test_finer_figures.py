"""Tables of figures get smaller granules, with every row that they had."""

import re

from analytics_pipeline.migrations.clickhouse import migrate, rendered
from analytics_pipeline.resources.clickhouse.client import ClickHouse

SCRIPT = "015_finer_figures.sql"
TABLES = (
    "analytics_api_latency_daily",
    "analytics_api_latency_hourly",
    "analytics_auth_events_daily",
    "analytics_cocoon_activity_daily",
    "analytics_daily_active_users",
    "analytics_errors_hourly",
    "analytics_integration_health_daily",
    "analytics_task_stats_daily",
)
_ROWS = """
    INSERT INTO {table} (organisation_id, date, computed_at, is_deleted) VALUES
    (1, '2026-01-05', '2026-01-06 00:00:00', 0), (2, '2026-01-05', '2026-01-06 00:00:00', 0),
    (2, '2026-01-05', '2026-01-07 00:00:00', 1), (3, '2026-02-05', '2026-02-06 00:00:00', 0)
"""


def _statements() -> list[str]:
    text = re.sub(r"--.*", "", rendered("pre", None)[SCRIPT])
    return [one.strip() for one in text.split(";") if one.strip()]


def _held(clickhouse: ClickHouse, table: str) -> list[tuple[int, str]]:
    return clickhouse.query(f"SELECT organisation_id, toString(computed_at) FROM {table} FINAL ORDER BY 1")


def test_finer__figures_are_there__all_stay_whichever_statement_was_the_last_before_a_death(
    clickhouse: ClickHouse,
) -> None:
    migrate(clickhouse, "pre")
    for table in TABLES:
        clickhouse.execute(_ROWS.format(table=table))
    expected = [(1, "2026-01-06 00:00:00.000"), (3, "2026-02-06 00:00:00.000")]
    statements = _statements()
    of_a_table = len(statements) // len(TABLES)

    for died_after in range(of_a_table):
        for statement in statements[: died_after + 1]:
            clickhouse.execute(statement)
        assert _held(clickhouse, statements[0].split()[4].removesuffix("_finer")) == expected
    for statement in statements:
        clickhouse.execute(statement)

    assert {table: _held(clickhouse, table) for table in TABLES} == dict.fromkeys(TABLES, expected)
    left = "SELECT name FROM system.tables WHERE database = currentDatabase() AND endsWith(name, '_finer')"
    assert clickhouse.query(left) == []


def test_finer__old_code_writes_between_the_copy_and_the_exchange__its_rows_stay(clickhouse: ClickHouse) -> None:
    migrate(clickhouse, "pre")

    for statement in _statements():
        exchange = re.match(r"EXCHANGE TABLES (\w+)_finer", statement)
        if exchange:
            clickhouse.execute(_ROWS.format(table=exchange[1]))
        clickhouse.execute(statement)

    found = {table: [row[0] for row in _held(clickhouse, table)] for table in TABLES}
    assert found == {table: [1, 3] for table in TABLES}


def test_finer__of_tables_with_states__leave_few_of_them_in_a_granule(clickhouse: ClickHouse) -> None:
    migrate(clickhouse, "pre")

    rows = clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND toUInt32OrZero(extract(create_table_query, 'index_granularity = (\\\\d+)')) BETWEEN 1 AND 256"
        " ORDER BY name"
    )
    assert [name for (name,) in rows] == sorted([*TABLES, "analytics_errors_daily"])
