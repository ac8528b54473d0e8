"""Tables of figures by day become tables by month, with their rows and without computing anything again.

What has to be done follows from what the store holds, so a takeover that died is simply tried again. Nobody may write
to the tables meanwhile. A table by day stays under the name `<table>_by_day`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted

logger = logging.getLogger(__name__)

# The script of phase `post` before which tables are taken over.
SCRIPT = "002_figures_by_month.sql"
_BY_MONTH = "toYYYYMM(date)"


class TakeoverFailed(Exception):
    """The table by month does not hold what the table by day does; the latter stays in place."""


@dataclass(frozen=True)
class FiguresTable:
    """A table of figures and its columns before it was kept by month. `version` fills `computed_at`."""

    name: str
    columns: tuple[str, ...]
    version: str


# Rows that had no version get one that everything computed from now on exceeds.
TABLES = (
    FiguresTable(
        "reporting_day_bounds",
        ("account_id", "date", "timezone", "starts_at", "ends_at"),
        "toDateTime64('2000-01-01 00:00:00', 3, 'UTC')",
    ),
    FiguresTable(
        "reporting_rollups",
        (
            "account_id",
            "date",
            "dimension_type",
            "dimension_id",
            "metric",
            "count",
            "sum_value",
            "sum_value_business_hours",
            "timezone",
        ),
        "computed_at",
    ),
    FiguresTable(
        "ai_usage_daily",
        (
            "date",
            "feature",
            "event",
            "user_id",
            "namespace_path",
            "language",
            "occurrences",
            "suggestion_size_sum",
            "last_at",
        ),
        "toDateTime64('2000-01-01 00:00:00', 3, 'UTC')",
    ),
)


def take_over(clickhouse: ClickHouse) -> list[str]:
    """Make every table of figures one by month; returns those that were not yet.

    Raises:
        TakeoverFailed: a copy is not what it was made from; its table stays as it was.
    """
    return [table.name for table in TABLES if _take_over(clickhouse, table)]


def _take_over(clickhouse: ClickHouse, table: FiguresTable) -> bool:
    new, old = f"{table.name}_by_month", f"{table.name}_by_day"
    found = _partition_keys(clickhouse, table.name, new)
    changed = found[table.name] != _BY_MONTH
    if changed:
        rows = _copy(clickhouse, table, new)
        clickhouse.execute(f"EXCHANGE TABLES {quoted(new)} AND {quoted(table.name)}{clickhouse.on_cluster}")
        logger.info("%s: %d rows are kept by month now", table.name, rows)
    # Also after a death between the two: the table by day has the other's name then.
    if new in found:
        clickhouse.execute(f"RENAME TABLE {quoted(new)} TO {quoted(old)}{clickhouse.on_cluster}")
    return changed


def _partition_keys(clickhouse: ClickHouse, *tables: str) -> Mapping[str, str]:
    return dict(
        clickhouse.query(
            "SELECT name, partition_key FROM system.tables"
            " WHERE database = currentDatabase() AND name IN {tables:Array(String)}",
            tables=list(tables),
        )
    )


def _copy(clickhouse: ClickHouse, table: FiguresTable, new: str) -> int:
    """All rows, month by month; what an earlier try left is thrown away."""
    columns = ", ".join(quoted(column) for column in table.columns)
    clickhouse.execute(f"TRUNCATE TABLE {quoted(new)}{clickhouse.on_cluster}")
    for (month,) in clickhouse.query(f"SELECT DISTINCT {_BY_MONTH} AS month FROM {quoted(table.name)} ORDER BY month"):
        clickhouse.execute(
            f"INSERT INTO {quoted(new)} ({columns}, computed_at)"
            f" SELECT {columns}, {table.version} FROM {quoted(table.name)} WHERE {_BY_MONTH} = {{month:UInt32}}",
            month=month,
        )
    rows, checksum = clickhouse.query(_CHECKSUM.format(columns=columns, table=quoted(table.name), final=""))[0]
    if (rows, checksum) != clickhouse.query(_CHECKSUM.format(columns=columns, table=quoted(new), final="FINAL"))[0]:
        raise TakeoverFailed(
            f"The rows of {new} are not those of {table.name}, which stays as it was. Is anything writing to it?"
            " Stop it and run: analytics-pipeline migrate post"
        )
    return int(rows)


_CHECKSUM = "SELECT count(), sum(cityHash64({columns})) FROM {table} {final}"
