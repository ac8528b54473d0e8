"""How much room rows take in ClickHouse, merged, at one size and at ten and a hundred times it.

    python -m benchmarks.storage                  10,000, 100,000 and 1,000,000 rows of each table
    python -m benchmarks.storage --rows 1000

Rows are made up as a product's are: few names, many ids, numbers that hardly compress. It tells bytes on disk and bytes
of the primary key in memory, which do not depend on how busy the machine is; docs/sizing.md rests on them.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.names import quoted
from benchmarks.stores import stores

ROWS = 10_000
FACTORS = (1, 10, 100)
# One row for each `number`; `rand(n)` is another number for each n.
ROWS_OF = {
    "identities": """
        SELECT today() AS snapshot_date, 1 AS project_id, 'environment' AS environment_id,
            concat('user-', toString(number)) AS identifier, toString(number) AS identity_key,
            concat('{"plan":"', ['free', 'pro', 'team'][1 + rand(1) % 3], '","country":"', toString(rand(2) % 200),
                '","age":', toString(rand(3) % 80), ',"seats":', toString(rand(4) % 500), ',"email":"',
                lower(hex(rand64(5))), '@example.com"}')::JSON(max_dynamic_paths = 64) AS traits,
            now64() AS inserted_at, now64() AS ingested_at, 'snapshot' AS source
    """,
    "reporting_events": """
        SELECT number AS id, ['first_response', 'reply_time', 'conversation_resolved'][1 + rand(1) % 3] AS name,
            exp(rand(2) % 12) AS value, exp(rand(3) % 11) AS value_in_business_hours, 1 + rand(4) % 200 AS account_id,
            rand(5) % 20 AS inbox_id, rand(6) % 100 AS user_id, rand(7) % 1000000 AS conversation_id,
            toDateTime64(today(), 6, 'UTC') + number % 86400 AS created_at, created_at AS updated_at
    """,
    "duo_chat_events": """
        SELECT number AS id, rand(1) % 20000 AS user_id, 1 + rand(2) % 3 AS event,
            concat(toString(rand(3) % 500), '/', toString(rand(4) % 5000), '/') AS namespace_path,
            toDateTime64(today(), 3, 'UTC') + number % 86400 AS timestamp
    """,
    "code_suggestion_events": """
        SELECT number AS id, rand(1) % 20000 AS user_id, 1 + rand(2) % 3 AS event,
            concat(toString(rand(3) % 500), '/', toString(rand(4) % 5000), '/') AS namespace_path,
            toDateTime64(today(), 3, 'UTC') + number % 86400 AS timestamp,
            toString(generateUUIDv4(number)) AS unique_tracking_id, ['go', 'ruby', 'rust'][1 + rand(5) % 3] AS language,
            rand(6) % 60 AS suggestion_size, 'main' AS branch_name
    """,
    "analytics_events": """
        SELECT 1 + rand(1) % 50 AS organisation_id, generateUUIDv4(number) AS event_id,
            toDateTime64(today(), 3, 'UTC') + number % 86400 AS timestamp, now64() AS received_at,
            ['task_created', 'api_request', 'custom'][1 + rand(2) % 3] AS event_type, 'web' AS service,
            toUUID(concat('00000000-0000-4000-8000-', leftPad(toString(rand(3) % 100000), 12, '0'))) AS user_id,
            generateUUIDv4(number + 1) AS task_id, rand(4) % 5000 AS duration_ms, '/v1/tasks' AS endpoint,
            concat('{"agent":"', ['a', 'b'][1 + rand(5) % 2], '","tokens":', toString(rand(6) % 9000), '}')
                ::JSON(max_dynamic_paths = 64) AS data
    """,
}
console = Console()


@dataclass(frozen=True)
class Size:
    table: str
    rows: int
    disk: int
    key: int

    @property
    def bytes_per_row(self) -> float:
        return self.disk / self.rows


def main() -> None:
    """Fill, merge, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows at the first size (default: %(default)s)")
    rows = parser.parse_args().rows
    with stores() as settings, connect(settings, Tag("benchmarks", "storage")) as clickhouse:
        sizes = [size for table in ROWS_OF for size in _sizes(clickhouse, table, rows)]
    shown = Table("table", "rows", "bytes on disk", "a row", "key in memory")
    for size in sizes:
        shown.add_row(size.table, f"{size.rows:,}", f"{size.disk:,}", f"{size.bytes_per_row:.1f}", f"{size.key:,}")
    console.print(shown)


def _sizes(clickhouse: ClickHouse, table: str, rows: int) -> Iterator[Size]:
    for factor in FACTORS:
        clickhouse.execute(f"TRUNCATE TABLE {quoted(table)}")
        columns = ", ".join(name for name, *_ in clickhouse.query(f"DESCRIBE ({ROWS_OF[table]} FROM numbers(1))"))
        clickhouse.execute(f"INSERT INTO {quoted(table)} ({columns}) {ROWS_OF[table]} FROM numbers({rows * factor})")
        clickhouse.execute(f"OPTIMIZE TABLE {quoted(table)} FINAL")
        ((stored, disk, key),) = clickhouse.query(
            "SELECT sum(rows), sum(bytes_on_disk), sum(primary_key_bytes_in_memory) FROM system.parts"
            " WHERE active AND database = currentDatabase() AND table = {table:String}",
            table=table,
        )
        yield Size(table, stored, disk, key)


if __name__ == "__main__":
    main()
