"""How a shared ClickHouse table takes a new version of one slice: staged, completed with tombstones, attached at once.

The table is a `ReplacingMergeTree(version, is_deleted)` that other slices and other writers live in as well, so a
partition cannot simply be swapped. The new rows are loaded into a staging table; rows that the slice holds and the load
does not have get a tombstone of the load's version; then `ATTACH PARTITION` makes all of it visible in one step. Where
the slice is all of a partition, that one is swapped instead.
A process that dies before that step has changed nothing, one that dies after it has finished.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.clickhouse.versions import later_than

# Above this the group-by that finds vanished rows goes on disk: memory stays bounded for slices of any size.
_SPILL_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Slice:
    """The rows of `table` that one load replaces.

    `key` is the whole sorting key and `version` the version column (DateTime64(3, 'UTC')). `predicate` picks the slice
    with `{name:Type}` placeholders for `parameters`. `partition` is the id of the partition that the slice is all of,
    if any: such a one is swapped, which leaves nothing to be merged.
    """

    table: str
    key: tuple[str, ...]
    version: str
    predicate: str
    parameters: Mapping[str, Any]
    partition: str | None = None

    def next_version(self, clickhouse: ClickHouse) -> datetime:
        """Now in milliseconds (UTC), but always later than what the slice holds: clocks may disagree."""
        newest: datetime = clickhouse.scalar(
            f"SELECT max({quoted(self.version)}) FROM {quoted(self.table)} WHERE {self.predicate}", **self.parameters
        )
        return later_than(newest)


@contextmanager
def replace_slice(clickhouse: ClickHouse, target: Slice, version: datetime) -> Iterator[str]:
    """Replace the slice by what the body inserts into the staging table that this yields.

    `version` must be the version of every inserted row. When the body raises, the slice stays as it was.
    """
    with clickhouse.staging(target.table) as staging:
        yield staging
        complete(clickhouse, target, staging, version)
        make_visible(clickhouse, target, staging)


def make_visible(clickhouse: ClickHouse, target: Slice, staging: str) -> None:
    """Let the table show the rows of the staging table, once it is complete, instead of the slice's."""
    if target.partition is not None:
        clickhouse.replace_partitions(target.table, staging, [target.partition])
        return
    for partition in clickhouse.partitions(staging):
        clickhouse.attach_partition(target.table, staging, partition)


def complete(clickhouse: ClickHouse, target: Slice, staging: str, version: datetime) -> None:
    """Add a tombstone to the staging table for each row of the slice that is not in it; a swap needs none."""
    if target.partition is not None:
        return
    key = ", ".join(quoted(column) for column in target.key)
    clickhouse.execute(
        f"""
        INSERT INTO {quoted(staging)} ({key}, {quoted(target.version)}, is_deleted)
        SELECT {key}, {{tombstone_version:DateTime64(3, 'UTC')}}, 1
        FROM (
            SELECT {key}, 0 AS is_loaded FROM {quoted(target.table)}
            WHERE ({target.predicate}) AND is_deleted = 0
            UNION ALL
            SELECT {key}, 1 FROM {quoted(staging)}
        )
        GROUP BY {key}
        HAVING max(is_loaded) = 0
        SETTINGS max_bytes_before_external_group_by = {_SPILL_BYTES}
        """,
        tombstone_version=version,
        **target.parameters,
    )
