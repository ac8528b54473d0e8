"""The ledger `identity_loads`: for each day and environment, how its last load into ClickHouse went."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file


@dataclass(frozen=True)
class Loaded:
    """An environment whose capture of `captured_at` is loaded: `rows` live rows."""

    environment: Environment
    captured_at: datetime
    rows: int


@dataclass(frozen=True)
class IdentityLedger:
    """Records the loads of one day on behalf of one run."""

    postgres: Postgres
    day: date
    run_id: str

    def completed(self, *, by_this_run: bool = False) -> dict[str, tuple[datetime, int]]:
        """When the capture of each completely loaded environment was made and its rows, by environment key."""
        rows = self.postgres.query(
            "SELECT environment_key, captured_at, rows FROM analytics_pipeline.identity_loads"
            " WHERE snapshot_date = %(day)s AND status = 'completed' AND (run_id = %(run_id)s OR NOT %(only_own)s)",
            day=self.day,
            run_id=self.run_id,
            only_own=by_this_run,
        )
        return {key: (captured_at, count) for key, captured_at, count in rows}

    def start(self, environments: Sequence[Environment]) -> None:
        """The loads of these environments begin."""
        self._record([_entry(environment, "running") for environment in environments])

    def complete(self, loaded: Sequence[Loaded]) -> None:
        """These are loaded and visible."""
        self._record([_entry(one.environment, "completed", one) for one in loaded])

    def fail(self, environment: Environment, error: str) -> None:
        """The environment could not be loaded and kept what it had."""
        self._record([_entry(environment, "failed", error=error)])

    def forget_gone(self, known_environment_keys: Collection[str], among: Collection[int] | None = None) -> None:
        """Forget the environments that have gone from the source, of these projects when they are named."""
        parameters = [self.day, list(known_environment_keys), among is None, list(among or ())]
        with self.postgres.ledgers.connect() as connection:
            connection.execute(
                "DELETE FROM analytics_pipeline.identity_loads WHERE snapshot_date = %s"
                " AND NOT environment_key = ANY(%s) AND (%s OR project_id = ANY(%s))",
                parameters,
            )

    def _record(self, entries: Sequence[dict[str, Any]]) -> None:
        with self.postgres.ledgers.connect() as connection:
            connection.cursor().executemany(
                sql_file(__package__, "record_load.sql"),
                [{**entry, "day": self.day, "run_id": self.run_id} for entry in entries],
            )


def _entry(environment: Environment, status: str, loaded: Loaded | None = None, error: str = "") -> dict[str, Any]:
    return {
        "key": environment.key,
        "environment_id": environment.id,
        "project_id": environment.project_id,
        "organisation_id": environment.organisation_id,
        "status": status,
        "captured_at": loaded.captured_at if loaded else None,
        "rows": loaded.rows if loaded else None,
        "error": error,
    }
