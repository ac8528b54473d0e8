"""The ledger `segment_refreshes`: for each project and day, how its last count went and which segments it counted.

A fingerprint stands for a project's live segments. It is compared, never ordered: a clock that is behind or a change
that commits late cannot hide a change from it.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from typing_extensions import LiteralString

from analytics_pipeline.flows.tenants import Project
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file


@dataclass(frozen=True)
class StoredCounts:
    """How many rows a refresh left in `segment_counts`, and their version; None: it was not recorded."""

    counts: int | None
    computed_at: datetime | None


@dataclass(frozen=True)
class RefreshLedger:
    """Records the refreshes of one day on behalf of one run."""

    postgres: Postgres
    day: date
    run_id: str

    def completed(self) -> set[int]:
        """The projects that this run has counted already, in an earlier attempt."""
        rows = self.postgres.query(
            "SELECT project_id FROM analytics_pipeline.segment_refreshes"
            " WHERE snapshot_date = %(day)s AND status = 'completed' AND run_id = %(run_id)s",
            day=self.day,
            run_id=self.run_id,
        )
        return {project for (project,) in rows}

    def start(self, project: Project) -> str:
        """The refresh begins; returns the fingerprint of the segments as they are now, for `complete`."""
        with self.postgres.ledgers.connect() as connection:
            connection.execute(_record(), self._entry(project, "running"))
        return fingerprints(self.postgres).get(project.id, "")

    def complete(self, connection: Connection, project: Project, fingerprint: str, stored: StoredCounts) -> None:
        """The counts of the segments with this fingerprint are stored; in the transaction that makes them current."""
        connection.execute(
            _record(),
            self._entry(project, "completed", fingerprint=fingerprint, stored=stored),
        )

    def fail(self, connection: Connection, project: Project, error: str) -> None:
        """The project could not be counted and kept what it had."""
        connection.execute(_record(), self._entry(project, "failed", error=error))

    def forget(self, project_id: int) -> None:
        """The project's counts of the day are about to be removed."""
        with self.postgres.ledgers.connect() as connection:
            connection.execute(_FORGET, {"project": project_id, "day": self.day, "run_id": self.run_id})

    def _entry(
        self,
        project: Project,
        status: str,
        *,
        fingerprint: str = "",
        error: str = "",
        stored: StoredCounts | None = None,
    ) -> dict[str, Any]:
        return {
            "project": project.id,
            "day": self.day,
            "organisation": project.organisation_id,
            "status": status,
            "fingerprint": fingerprint,
            "counts": stored and stored.counts,
            "computed_at": stored and stored.computed_at,
            "error": error,
            "run_id": self.run_id,
        }


def _record() -> LiteralString:
    return sql_file(__package__, "record_refresh.sql")


def fingerprints(postgres: Postgres) -> dict[int, str]:
    """The fingerprint of the live segments of each project that has any, by project id."""
    return dict(
        postgres.query(
            "SELECT project_id, md5(string_agg(concat_ws(':', id, extract(epoch FROM updated_at)), ',' ORDER BY id))"
            " FROM {segments} WHERE deleted_at IS NULL AND id IS NOT NULL GROUP BY project_id"
        )
    )


# As for a refresh that was begun: should this run die, the project is asked for again.
_FORGET = """
    UPDATE analytics_pipeline.segment_refreshes SET status = 'running', run_id = %(run_id)s, started_at = now()
    WHERE project_id = %(project)s AND snapshot_date = %(day)s
"""
