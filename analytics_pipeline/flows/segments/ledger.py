"""The ledger `segment_refreshes`: for each project and day, how its last count went and which segments it counted.

A fingerprint stands for a project's live segments. It is compared, never ordered: a clock that is behind or a change
that commits late cannot hide a change from it.
"""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.tenants import Project
from analytics_pipeline.resources.postgres import Postgres


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
        self._record(project, "running")
        return fingerprints(self.postgres).get(project.id, "")

    def complete(self, project: Project, fingerprint: str) -> None:
        """The counts of the segments with this fingerprint are stored."""
        self._record(project, "completed", fingerprint=fingerprint)

    def fail(self, project: Project, error: str) -> None:
        """The project could not be counted and kept what it had."""
        self._record(project, "failed", error=error)

    def _record(self, project: Project, status: str, *, fingerprint: str = "", error: str = "") -> None:
        with self.postgres.ledgers.connect() as connection:
            connection.execute(
                _RECORD,
                {
                    "project": project.id,
                    "day": self.day,
                    "organisation": project.organisation_id,
                    "status": status,
                    "fingerprint": fingerprint,
                    "error": error,
                    "run_id": self.run_id,
                },
            )


def fingerprints(postgres: Postgres) -> dict[int, str]:
    """The fingerprint of the live segments of each project that has any, by project id."""
    return dict(
        postgres.query(
            "SELECT project_id, md5(string_agg(concat_ws(':', id, extract(epoch FROM updated_at)), ',' ORDER BY id))"
            " FROM {segments} WHERE deleted_at IS NULL GROUP BY project_id"
        )
    )


_RECORD = """
    INSERT INTO analytics_pipeline.segment_refreshes AS ledger (
        project_id, snapshot_date, organisation_id, status, fingerprint, error, run_id, started_at, completed_at
    )
    VALUES (
        %(project)s, %(day)s, %(organisation)s, %(status)s, %(fingerprint)s, %(error)s, %(run_id)s, now(),
        CASE WHEN %(status)s = 'completed' THEN now() END
    )
    ON CONFLICT (project_id, snapshot_date) DO UPDATE SET
        organisation_id = excluded.organisation_id,
        status = excluded.status,
        fingerprint = CASE WHEN excluded.status = 'completed' THEN excluded.fingerprint ELSE ledger.fingerprint END,
        error = excluded.error,
        run_id = excluded.run_id,
        started_at = CASE WHEN excluded.status = 'running' THEN excluded.started_at ELSE ledger.started_at END,
        completed_at = coalesce(excluded.completed_at, ledger.completed_at)
"""
