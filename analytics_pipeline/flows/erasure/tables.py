"""Tables of ClickHouse: rows that are the subject's go, by mutations of the partitions that hold any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from analytics_pipeline.flows.ai_usage.daily import FIGURES
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE, Named
from analytics_pipeline.flows.erasure.steps import PATIENCE, Found, Step, Work, near_days
from analytics_pipeline.flows.held_days import change_in_place, vouched_days
from analytics_pipeline.flows.held_tables import Content, DayTable, HeldTable
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.reporting.rollups import BOUNDS, ROLLUPS
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import partition_literal, quoted
from analytics_pipeline.resources.postgres import Connection

COPIES = {source.table: source.held for source in (REPORTING_EVENTS, *SOURCES)}
HELD: Mapping[str, HeldTable] = {
    **COPIES,
    **{table.name: table for table in (ROLLUPS, BOUNDS, FIGURES, *(aggregate.table for aggregate in AGGREGATES))},
}
# Partitions in one statement, whose text has the condition for each.
PARTITIONS_AT_ONCE = 20


@dataclass(frozen=True)
class Table:
    """One table of ClickHouse and how it names subjects."""

    work: Work
    name: str

    @property
    def named(self) -> Named:
        return CLICKHOUSE[self.name]

    @property
    def clickhouse(self) -> ClickHouse:
        return self.work.stores.clickhouse

    def removal(self) -> Step:
        """The step that removes the subject's rows."""
        return Step(f"clickhouse.{self.name}", "removed", self._look, self._remove)

    def _look(self) -> Found:
        condition, parameters = self.work.target.rows(self.named)
        if condition == "false" or not self.exists():
            return Found(0)
        held = HELD.get(self.name)
        day = held.day if isinstance(held, DayTable) else "date" if held else "toDate(0)"
        rows, days = self.clickhouse.query(
            f"SELECT count(), groupUniqArray({day}) FROM {quoted(self.name)} WHERE {condition}", **parameters
        )[0]
        vouched = vouched_days(self.work.stores.postgres, held) if held else set[date]()
        return Found(rows, tuple(sorted(vouched.intersection(days))))

    def exists(self) -> bool:
        """Tables that were kept by day once are not everywhere."""
        return bool(self.clickhouse.scalar(f"EXISTS TABLE {quoted(self.name)}"))

    def _remove(self, days: Sequence[date]) -> None:
        held = HELD.get(self.name)
        if held is None:
            self.work.wait_for(*self._writers())
            if self.name == "exported_events":
                self._count_deliveries()
            self.delete()
            return
        postgres = self.work.stores.postgres
        with postgres.lease(held.lease, patience=PATIENCE), postgres.ledgers.connect() as ledger:
            found = change_in_place(self.clickhouse, ledger, held, days, self.delete)
            _record(ledger, self.name, found)

    def _count_deliveries(self) -> None:
        """Let the deliveries to our own ClickHouse count what will be left of them; a check compares them."""
        condition, parameters = self.work.target.rows(self.named)
        rows = self.clickhouse.query(f"SELECT DISTINCT event_log_id FROM {self.name} WHERE {condition}", **parameters)
        ours = [sink.name for sink in self.work.stores.settings.sinks if sink.parts.scheme == "clickhouse"]
        with self.work.stores.postgres.ledgers.connect() as connection:
            connection.execute(_COUNT_DELIVERIES, {"ids": [id_ for (id_,) in rows], "sinks": ours})

    def _writers(self) -> list[str]:
        """Leases of those who may have read the ledger too early and write here."""
        postgres = self.work.stores.postgres
        if self.name == "exported_events":
            rows = postgres.query("SELECT sink FROM analytics_pipeline.event_logs_scrape_state ORDER BY sink")
            return [f"usage_export:{sink}" for (sink,) in rows]
        if self.name == "segment_counts":
            projects = [int(one.names[0]) for one in self.work.target.of("project")]
            rows = postgres.query(_COUNTED, projects=projects, days=list(near_days()))
            return [f"segment_counts:{project}:{day}" for project, day in rows]
        return []

    def delete(self) -> None:
        """Remove the rows from every partition that holds any."""
        condition, parameters = self.work.target.hidden_rows(self.named)
        self.change(self.work.target.rows(self.named), f"DELETE IN PARTITION ID {{}} WHERE {condition}", parameters)

    def change(self, found_by: tuple[str, Mapping[str, Any]], change: str, parameters: Mapping[str, Any]) -> None:
        """Alter the partitions that hold rows that are found by a condition; `{}` of the change is the partition."""
        condition, named = found_by
        if condition == "false" or not self.exists():
            return
        rows = self.clickhouse.query(
            f"SELECT DISTINCT _partition_id FROM {quoted(self.name)} WHERE {condition} ORDER BY 1", **named
        )
        before, _, after = change.partition("{}")
        changes = [f"{before}{partition_literal(one)}{after}" for (one,) in rows]
        for start in range(0, len(changes), PARTITIONS_AT_ONCE):
            some = ", ".join(changes[start : start + PARTITIONS_AT_ONCE])
            self.clickhouse.execute(f"ALTER TABLE {quoted(self.name)} {some} SETTINGS mutations_sync = 2", **parameters)


def blanking(work: Work, name: str) -> Step:
    """The step that takes the subject out of rows that are somebody else's."""
    table = Table(work, name)
    ((kind, column),) = table.named.blanked.items()
    found_by = work.target.rows(Named({kind: (column,)}))

    def look() -> Found:
        return Found(table.clickhouse.scalar(f"SELECT count() FROM {quoted(name)} WHERE {found_by[0]}", **found_by[1]))

    def blank(_: Sequence[date]) -> None:
        hidden, parameters = work.target.hidden(kind, (column,))
        with work.stores.postgres.lease(HELD[name].lease, patience=PATIENCE):
            table.change(found_by, f"UPDATE {column} = NULL IN PARTITION ID {{}} WHERE {hidden}", parameters)

    return Step(f"clickhouse.{name}", "blanked", look, blank)


def removals(work: Work, names: Sequence[str]) -> list[Step]:
    """The steps of those tables that can name the target."""
    kinds = {one.kind for one in work.target.all}
    tables = [Table(work, name) for name in names]
    steps = [one.removal() for one in tables if kinds & one.named.rows.keys()]
    return steps + [blanking(work, one.name) for one in tables if kinds & one.named.blanked.keys()]


def _record(ledger: Connection, name: str, found: Mapping[date, Content]) -> None:
    """Let the ledgers of the flows say how many rows there are now; who was left out counts as refused."""
    statement = _COPIED if name in COPIES else _COUNTED_AI if name == FIGURES.name else None
    if statement and found:
        values = [{"rows": one.rows, "day": day, "source": name} for day, one in found.items()]
        ledger.cursor().executemany(statement, values)


_COPIED = """
    UPDATE analytics_pipeline.source_copies SET refused = refused + rows - %(rows)s, rows = %(rows)s
    WHERE day = %(day)s AND source = %(source)s
"""
_COUNTED_AI = "UPDATE analytics_pipeline.ai_usage_days SET rows = %(rows)s WHERE day = %(day)s"
# Done twice, it counts too few, which no check takes for a loss.
_COUNT_DELIVERIES = """
    UPDATE analytics_pipeline.export_deliveries AS delivery SET records = greatest(delivery.records - gone.records, 0)
    FROM (
        SELECT sent.id, count(*) AS records FROM analytics_pipeline.export_deliveries AS sent
        INNER JOIN unnest(%(ids)s::bigint[]) AS event (id) ON event.id BETWEEN sent.first_id AND sent.last_id
        WHERE sent.sink = ANY(%(sinks)s) AND sent.status = 'delivered' GROUP BY sent.id
    ) AS gone
    WHERE gone.id = delivery.id
"""
_COUNTED = """
    SELECT project.id, day FROM unnest(%(projects)s::bigint[]) AS project (id)
    CROSS JOIN unnest(%(days)s::date[]) AS day
    UNION SELECT project_id, snapshot_date FROM analytics_pipeline.segment_refreshes
    WHERE status = 'running' AND project_id = ANY(%(projects)s)
"""
