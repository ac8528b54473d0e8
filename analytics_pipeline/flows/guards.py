"""Guards before heavy work: it is refused, with the figure and the repair, before anything of it is written.

Every writer of days asks them before each piece that it swaps as a whole, so that a backfill of years stops between two
days when the disk fills up on the way. What the guards ask for are the settings GUARD_….
"""

from dataclasses import dataclass

import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.filesize import decimal

from analytics_pipeline.errors import Passing, Refused
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import error_code
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

_ACCESS_DENIED = 497
_NOTHING = "Nothing of this work was written"


class DiskFull(Refused):
    """ClickHouse has too little free space for more; nothing was written."""


class TooManyParts(Passing):
    """ClickHouse has not merged what it was sent before; nothing was written."""


class ReplicaBehind(Passing):
    """A replica of the source is too far behind; nothing was read from it or written."""


@dataclass(frozen=True)
class Headroom:
    """The room that a ClickHouse table has left, on the server that was asked.

    `free_bytes` and `total_bytes` are of all disks of its storage policy. The `fullest` partition has `parts` active
    parts, of which ClickHouse takes `slowed_at` before it slows inserts down; of the whole table's `all_parts` it takes
    `refused_at`.
    """

    table: str
    free_bytes: float
    total_bytes: float
    fullest: str
    parts: int
    all_parts: int
    slowed_at: int
    refused_at: int

    @property
    def free_percent(self) -> float:
        return 100 * self.free_bytes / self.total_bytes if self.total_bytes else 100.0

    @property
    def parts_percent(self) -> float:
        """Of what is nearer to its bound: the fullest partition, or the table."""
        return 100 * max(self.parts / max(1, self.slowed_at), self.all_parts / max(1, self.refused_at))

    @property
    def disk(self) -> str:
        free, total = decimal(int(self.free_bytes)), decimal(int(self.total_bytes))
        return f"{self.free_percent:.1f} % ({free} of {total}) of the disks of {self.table} are free"

    @property
    def partition(self) -> str:
        fullest = f"{self.parts:,} of {self.slowed_at:,} parts in the partition {self.fullest or '-'}"
        return f"{self.table} has {fullest}, and {self.all_parts:,} of {self.refused_at:,} in all"


def headroom(clickhouse: ClickHouse, *tables: str) -> list[Headroom] | None:
    """The room that each of the tables has left, by name, of those that exist; None: our user may not see it."""
    try:
        rows = clickhouse.query(sql_file(__package__, "headroom.sql"), tables=[*tables])
    except ClickHouseError as error:
        if error_code(error) == _ACCESS_DENIED:
            return None
        raise
    return [Headroom(*row) for row in rows]


def disk_trouble(clickhouse: ClickHouse, found: Headroom) -> DiskFull | None:
    """Why nothing may be written for want of space, if so."""
    least = clickhouse.limits.free_disk_percent
    if found.free_percent >= least:
        return None
    return DiskFull(
        f"{found.disk}, and heavy work waits for {least} % (GUARD_FREE_DISK_PERCENT). {_NOTHING}. Give ClickHouse more"
        " space or shorten what is kept (docs/operators-guide.md, Guards before heavy work), then run it again"
    )


def parts_trouble(clickhouse: ClickHouse, found: Headroom) -> TooManyParts | None:
    """Why nothing may be written until parts were merged, if so."""
    most = clickhouse.limits.parts_percent
    if not most or found.parts_percent <= most:
        return None
    return TooManyParts(
        f"{found.partition}, and heavy work waits until they are fewer than {most} % (GUARD_PARTS_PERCENT). {_NOTHING}."
        " ClickHouse merges them by itself; where it does not, look at system.merges and at its disks"
    )


def require_room(clickhouse: ClickHouse, table: str) -> None:
    """Let work that writes into the table begin.

    Raises:
        DiskFull: it must not, before somebody made room.
        TooManyParts: it must not yet.
    """
    for found in headroom(clickhouse, table) or ():
        if trouble := disk_trouble(clickhouse, found) or parts_trouble(clickhouse, found):
            raise trouble


def replica_lag(postgres: Postgres) -> float | None:
    """How many seconds the source is behind its primary, or its replicas are behind it; None: nobody knows of any."""
    try:
        ((seconds,),) = postgres.query(sql_file(__package__, "replica_lag.sql"))
    except psycopg.errors.FeatureNotSupported:
        # Servers that share the storage of their primary have no replay.
        return None
    return None if seconds is None else float(seconds)


def lag_trouble(postgres: Postgres, seconds: float | None) -> ReplicaBehind | None:
    """Why the source must not be read yet, if so."""
    if not postgres.lag_seconds or seconds is None or seconds <= postgres.lag_seconds:
        return None
    return ReplicaBehind(
        f"A replica of the source is {seconds:,.0f} s behind, and heavy work waits until it is at most"
        f" {postgres.lag_seconds} s (GUARD_REPLICA_LAG_SECONDS). {_NOTHING}. Look at pg_stat_replication on the primary"
    )


def require_replicas(postgres: Postgres) -> None:
    """Let work that reads much of the source begin.

    Raises:
        ReplicaBehind: it must not yet.
    """
    trouble = lag_trouble(postgres, replica_lag(postgres))
    if trouble:
        raise trouble
