"""Identities: captures in the landing zone, and snapshots in ClickHouse, day by day while nobody works on the day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.erasure.landing import Named, found_in, leave_out
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE
from analytics_pipeline.flows.erasure.steps import PATIENCE, Found, Step, Work, near_days
from analytics_pipeline.flows.identities.stored import NOTHING, stored_environments
from analytics_pipeline.flows.identities.units import EXPORTS, UNITS, day_of, export_unit_of, unit_of
from analytics_pipeline.resources.clickhouse.names import day_partition
from analytics_pipeline.resources.landing import LandingZone

TABLE = "identities"


@dataclass(frozen=True)
class Captures:
    """Files of the landing zone. Of an organisation's own captures nothing stays; others are written anew."""

    work: Work
    landing: LandingZone

    def step(self) -> Step:
        return Step("landing zone", "removed", self._look, self._remove, is_sure=True)

    def _look(self) -> Found:
        found = {day: sum(self._rows(unit) for unit in self._units(day)) for day in self._days()}
        return Found(sum(found.values()), tuple(day for day, rows in found.items() if rows))

    def _rows(self, unit: str) -> int:
        manifest = self.landing.readable_manifest(unit)
        if manifest is None:
            return 0
        return manifest.rows if self._is_own(unit) else found_in(self.landing, unit, self._named)

    def _remove(self, days: Sequence[date]) -> None:
        # Also of other days: a capture that died has left files that no manifest counts.
        for day in sorted({*days, *self._days(), *near_days()}):
            with self.work.stores.postgres.lease(f"identities:{day}", patience=PATIENCE):
                for unit in self._units(day):
                    if self._is_own(unit):
                        self.landing.remove(unit)
                    else:
                        leave_out(self.landing, unit, self._named)

    @property
    def _named(self) -> Named:
        only = [one.names[1] for one in self.work.target.of("identity")]
        return Named(self.work.target.names, only[0] if only else None)

    def _is_own(self, unit: str) -> bool:
        return unit.startswith(f"{UNITS}/") and self.work.target.subject.kind == "organisation"

    def _days(self) -> list[date]:
        return sorted({day_of(prefix) for root in (UNITS, EXPORTS) for prefix in self.landing.below(root)})

    def _units(self, day: date) -> Iterator[str]:
        """The units of the day that may hold the subject."""
        keys = {one.names[0] for one in self.work.target.all if one.kind in ("identity", "environment")}
        wanted = {unit_of(day, key) for key in keys}
        for unit in self.landing.below(unit_of(day, "").rpartition("/")[0]):
            if unit in wanted:
                yield unit
        if keys and self.landing.stored(export_unit_of(day)):
            yield export_unit_of(day)


@dataclass(frozen=True)
class Snapshots:
    """Rows of the table `identities`, with their tombstones; the ledger of loads counts what is left."""

    work: Work

    def step(self) -> Step:
        return Step(f"clickhouse.{TABLE}", "removed", self.look, self._remove)

    def look(self) -> Found:
        condition, parameters = self.work.target.rows(CLICKHOUSE[TABLE])
        rows = self.work.stores.clickhouse.query(
            f"SELECT snapshot_date, count() FROM {TABLE} WHERE {condition} GROUP BY snapshot_date", **parameters
        )
        return Found(sum(count for _, count in rows), tuple(sorted(day for day, _ in rows)))

    def _remove(self, days: Sequence[date]) -> None:
        for day in days:
            with self.work.stores.postgres.lease(f"identities:{day}", patience=PATIENCE):
                self._remove_day(day)

    def _remove_day(self, day: date) -> None:
        condition, parameters = self.work.target.hidden_rows(CLICKHOUSE[TABLE])
        self.work.stores.clickhouse.execute(
            f"ALTER TABLE {TABLE} DELETE IN PARTITION ID '{day_partition(day)}' WHERE {condition}"
            " SETTINGS mutations_sync = 2",
            **parameters,
        )
        for environment in {one.names[0] for one in self.work.target.of("identity")}:
            stored = stored_environments(self.work.stores.clickhouse, day, [environment]).get(environment, NOTHING)
            with self.work.stores.postgres.ledgers.connect() as connection:
                connection.execute(
                    _RECOUNT, {"rows": stored.rows, "version": stored.version, "day": day, "environment": environment}
                )


# Of an environment of which nobody is left, no row could carry the version.
_RECOUNT = """
    UPDATE analytics_pipeline.identity_loads SET rows = %(rows)s
    WHERE snapshot_date = %(day)s AND environment_key = %(environment)s
        AND (captured_at = %(version)s OR (%(rows)s = 0 AND rows = 1))
"""
