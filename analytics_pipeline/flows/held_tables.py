"""ClickHouse tables whose days are replaced as a whole: how that is done, and how to tell what a day holds.

Raw rows are kept by day, each of which is a partition that is swapped. Figures are kept by month, because each part of
a table costs a read about a millisecond; there a day is a slice, replaced by versions and tombstones.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import day_partition, quoted
from analytics_pipeline.resources.clickhouse.slices import Slice, complete, make_visible


@dataclass(frozen=True)
class Content:
    """A day's rows, and what tells them from those of another swap; None: not known."""

    rows: int | None = 0
    checksum: int | Decimal | None = 0


NOTHING = Content()


@dataclass(frozen=True)
class Estimate:
    """Rows that some work would read, and their bytes where they are."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.rows + other.rows, self.bytes + other.bytes)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


def estimated_days(clickhouse: ClickHouse, tables: Collection[str], days: Sequence[date]) -> dict[date, Estimate]:
    """Rows and bytes on disk of each of the days in tables that are partitioned by day, as their parts tell."""
    rows = clickhouse.query(
        "SELECT partition_id, sum(rows), sum(bytes_on_disk) FROM system.parts"
        " WHERE database = currentDatabase() AND table IN {tables:Array(String)} AND active GROUP BY partition_id",
        tables=list(tables),
    )
    found = {partition: Estimate(*sizes) for partition, *sizes in rows}
    return {day: found.get(day_partition(day), Estimate()) for day in days}


@dataclass(frozen=True)
class HeldTable(ABC):
    """A table whose days are replaced under the `lease`."""

    name: str
    lease: str

    @abstractmethod
    def complete(self, clickhouse: ClickHouse, staging: str, days: Sequence[date]) -> dict[date, Content]:
        """Add to the staging table what it takes to replace the days by it; returns what they will hold."""

    @abstractmethod
    def show(self, clickhouse: ClickHouse, staging: str, days: Sequence[date], left_out: Sequence[date] = ()) -> None:
        """Replace the days by the completed staging table; `left_out` are days of it that are not wanted any more.

        Raises:
            LostRows: the staging table holds other days as well; nothing was replaced.
        """

    @abstractmethod
    def at_a_glance(self, clickhouse: ClickHouse) -> dict[date, Content]:
        """Contents of each day, as far as they can be had for little."""

    @abstractmethod
    def closely(self, clickhouse: ClickHouse, days: Collection[date]) -> dict[date, Content]:
        """Contents of each of the days, by its rows."""


@dataclass(frozen=True)
class DayTable(HeldTable):
    """A table of which each UTC day is a partition; `day` is the SQL of a row's day.

    `identity` lists the columns that tell a row from what another swap made of it: as few as that takes, because they
    are read to find out.
    """

    day: str
    identity: str

    def complete(self, clickhouse: ClickHouse, staging: str, days: Sequence[date]) -> dict[date, Content]:
        return self._contents(clickhouse, staging)

    def show(self, clickhouse: ClickHouse, staging: str, days: Sequence[date], left_out: Sequence[date] = ()) -> None:
        unwanted = [day_partition(day) for day in left_out]
        clickhouse.replace_partitions(self.name, staging, [day_partition(day) for day in days], left_out=unwanted)

    def at_a_glance(self, clickhouse: ClickHouse) -> dict[date, Content]:
        # Without a condition: this way ClickHouse answers from what it knows of its parts.
        rows = clickhouse.query(f"SELECT {self.day} AS held, count() FROM {quoted(self.name)} GROUP BY held")
        return {day: Content(count, None) for day, count in rows}

    def closely(self, clickhouse: ClickHouse, days: Collection[date]) -> dict[date, Content]:
        return self._contents(clickhouse, self.name, f"WHERE {self.day} IN {{days:Array(Date)}}", days=list(days))

    def _contents(
        self, clickhouse: ClickHouse, relation: str, where: str = "", **parameters: object
    ) -> dict[date, Content]:
        rows = clickhouse.query(
            f"SELECT {self.day} AS held, count(), sum(cityHash64({self.identity})) FROM {quoted(relation)} {where}"
            " GROUP BY held",
            **parameters,
        )
        return {day: Content(count, checksum) for day, count, checksum in rows}


@dataclass(frozen=True)
class MonthTable(HeldTable):
    """A `ReplacingMergeTree(computed_at, is_deleted)` of figures by their column `date`, each month a partition.

    `key` is its whole sorting key. What is staged has one version, `next_version` of its days. A day is told from
    another state of it by its newest version, in milliseconds: how many rows there are also depends on merges.
    """

    key: tuple[str, ...]

    def next_version(self, clickhouse: ClickHouse, days: Sequence[date]) -> datetime:
        """The version for new rows of these neighbouring days of one month."""
        return self._slice(days).next_version(clickhouse)

    def complete(self, clickhouse: ClickHouse, staging: str, days: Sequence[date]) -> dict[date, Content]:
        target = self._slice(days)
        staged = clickhouse.query(f"SELECT date, count(), max(computed_at) FROM {quoted(staging)} GROUP BY date")
        version = staged[0][2] if staged else target.next_version(clickhouse)
        complete(clickhouse, target, staging, version)
        found = {day: Content(count, _milliseconds(newest)) for day, count, newest in staged}
        if target.partition is None and not found.keys() >= {*days}:
            # A day that gets neither rows nor tombstones stays as it is: an empty one whose tombstones were merged.
            versions = self._versions(clickhouse, self.name) | self._versions(clickhouse, staging)
            found = {day: Content(0, versions.get(day, 0)) for day in days} | found
        return {day: found.get(day, NOTHING) for day in days}

    def show(self, clickhouse: ClickHouse, staging: str, days: Sequence[date], left_out: Sequence[date] = ()) -> None:
        make_visible(clickhouse, self._slice(days), staging)

    def at_a_glance(self, clickhouse: ClickHouse) -> dict[date, Content]:
        return {day: Content(None, version) for day, version in self.versions(clickhouse).items()}

    def versions(self, clickhouse: ClickHouse) -> dict[date, int]:
        """The newest version of each day, in milliseconds."""
        return self._versions(clickhouse, self.name)

    def closely(self, clickhouse: ClickHouse, days: Collection[date]) -> dict[date, Content]:
        rows = dict(
            clickhouse.query(
                f"SELECT date, count() FROM {quoted(self.name)} FINAL WHERE date IN {{days:Array(Date)}} GROUP BY date",
                days=list(days),
            )
        )
        versions = self._versions(clickhouse, self.name)
        return {day: Content(rows.get(day, 0), versions.get(day, 0)) for day in days}

    def _versions(self, clickhouse: ClickHouse, relation: str) -> dict[date, int]:
        return dict(
            clickhouse.query(
                f"SELECT date, toUnixTimestamp64Milli(max(computed_at)) FROM {quoted(relation)} GROUP BY date"
            )
        )

    def _slice(self, days: Sequence[date]) -> Slice:
        first, last = days[0], days[-1]
        if (first.year, first.month) != (last.year, last.month):
            raise ValueError(f"{first} and {last} are not of one month")
        is_whole = first.day == 1 and (last + timedelta(days=1)).day == 1
        return Slice(
            table=self.name,
            key=self.key,
            version="computed_at",
            predicate="date BETWEEN {first:Date} AND {last:Date}",
            parameters={"first": first, "last": last},
            partition=f"{first:%Y%m}" if is_whole else None,
        )


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
