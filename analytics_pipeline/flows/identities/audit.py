"""Questions that a stored snapshot must answer well: is it complete, is it what was captured, is it plausible."""

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.identities.kept import kept_captures
from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class RowDifference:
    """An environment whose stored rows are not those that its capture held."""

    environment_key: str
    captured: int
    stored: int


def unloaded_environments(postgres: Postgres, tenants: Tenants, day: date) -> Audited[list[int]]:
    """The ids of enabled environments without a completed load of the day, of all that are enabled."""
    completed = _completed_rows(postgres, day)
    found = [environment.id for environment in tenants.environments if environment.key not in completed]
    return Audited(len(tenants.environments), found)


def row_differences(postgres: Postgres, clickhouse: ClickHouse, day: date) -> Audited[list[RowDifference]]:
    """Where the live rows of the day are not as many as the ledger says the capture held, of all that were loaded."""
    stored, loaded = _live_rows(clickhouse, day), _completed_rows(postgres, day)
    found = [
        RowDifference(key, captured, stored.get(key, 0))
        for key, captured in sorted(loaded.items())
        if captured != stored.get(key, 0)
    ]
    return Audited(len(loaded), found)


def unkept_captures(postgres: Postgres, landing: LandingZone, day: date) -> Audited[list[str]]:
    """The keys of loaded environments whose capture of the day the landing zone does not keep, or not whole."""
    loaded = _completed_rows(postgres, day)
    return Audited(len(loaded), sorted(loaded.keys() - kept_captures(landing, day, loaded)))


def emptied_environments(postgres: Postgres, clickhouse: ClickHouse, day: date) -> Audited[list[str]]:
    """The keys of loaded environments that are empty but were not the day before: a surprise, perhaps a mistake."""
    before, loaded = _live_rows(clickhouse, day - timedelta(days=1)), _completed_rows(postgres, day)
    return Audited(len(loaded), sorted(key for key, rows in loaded.items() if rows == 0 and before.get(key)))


def _completed_rows(postgres: Postgres, day: date) -> dict[str, int]:
    rows = postgres.query(
        "SELECT environment_key, rows FROM analytics_pipeline.identity_loads"
        " WHERE snapshot_date = %(day)s AND status = 'completed'",
        day=day,
    )
    return dict(rows)


def _live_rows(clickhouse: ClickHouse, day: date) -> dict[str, int]:
    rows = clickhouse.query(
        "SELECT environment_id, count() FROM identities FINAL WHERE snapshot_date = {day:Date} GROUP BY environment_id",
        day=day,
    )
    return dict(rows)
