"""How many identities each environment has in a day's snapshot."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.tenants import Project
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.slices import Slice, replace_slice

_COLUMNS = ("date", "project_id", "environment_id", "identities", "computed_at")


@dataclass(frozen=True)
class SizeRefresh:
    """Counts one day's snapshot, each project on its own."""

    clickhouse: ClickHouse
    ledger: IdentityLedger

    def refresh(self, project: Project) -> int:
        """Replace the project's sizes of the day; returns how many environments were counted."""
        clickhouse = self.clickhouse.tagged("count", organisation_id=project.organisation_id, project_id=project.id)
        # An environment that was not loaded is unknown and gets no row; one that is empty gets a 0.
        loaded = self.ledger.completed()
        keys = [environment.key for environment in project.environments if environment.key in loaded]
        sizes = _sizes(clickhouse, self.ledger.day, keys)
        target = Slice(
            table="environment_sizes",
            key=("project_id", "environment_id", "date"),
            version="computed_at",
            predicate="project_id = {project:UInt64} AND date = {day:Date}",
            parameters={"project": project.id, "day": self.ledger.day},
        )
        version = target.next_version(clickhouse)
        rows = [[self.ledger.day, project.id, key, sizes.get(key, 0), version] for key in keys]
        with replace_slice(clickhouse, target, version) as staging:
            clickhouse.insert_rows(staging, _COLUMNS, rows)
        return len(rows)


def _sizes(clickhouse: ClickHouse, day: date, environment_keys: list[str]) -> dict[str, int]:
    rows = clickhouse.query(
        "SELECT environment_id, count() FROM identities FINAL"
        " WHERE snapshot_date = {day:Date} AND environment_id IN {keys:Array(String)} GROUP BY environment_id",
        day=day,
        keys=environment_keys,
    )
    return dict(rows)
