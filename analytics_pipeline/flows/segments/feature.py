"""The history that segment membership asks for: today's snapshot and counts of the organisation's projects."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any

from openfeature.client import OpenFeatureClient

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.feature import Feature, Progress
from analytics_pipeline.flows.identities.stored import NOTHING, glimpsed_environments
from analytics_pipeline.flows.segments.ledger import StoredCounts
from analytics_pipeline.flows.segments.stored import counts_in_store
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import glance
from analytics_pipeline.resources.postgres import Postgres

_ASSETS = ("raw_identities", "identity_snapshots", "segment_counts")
_SCOPE = "organisation:"


def switched_on(postgres: Postgres, flags: OpenFeatureClient) -> dict[str, str]:
    """The organisations with the feature flag on and a project that has live segments: scope to setting."""
    organisations = {project.organisation_id for project in enabled_tenants(postgres, flags).projects}
    return {f"{_SCOPE}{organisation}": "on" for organisation in sorted(organisations)}


def history() -> tuple[date, date]:
    """DynamoDB holds only the present: the history is today (UTC)."""
    today = datetime.now(timezone.utc).date()
    return today, today


def run_config(postgres: Postgres, scope: str) -> Mapping[str, Mapping[str, Any]]:
    """Narrows each asset to the organisation's projects with live segments."""
    return {asset: {"projects": [project for (project,) in _projects(postgres, scope)]} for asset in _ASSETS}


def complete_days(
    postgres: Postgres, clickhouse: ClickHouse, scope: str, days: Sequence[date], since: datetime
) -> dict[date, int]:
    """The days on which every environment was loaded and every project counted after `since`, with their identities.

    What ClickHouse does not hold as the ledgers say is not complete.
    """
    units = postgres.query(_UNITS, organisation=_organisation(scope))
    projects, keys = [project for project, _ in units], [key for _, key in units]
    parameters = {"projects": projects, "keys": keys, "days": list(days), "since": since}
    complete: dict[date, int] = dict(postgres.query(_COMPLETE_DAYS, **parameters))
    if complete:
        in_store, held = counts_in_store(clickhouse, complete), glimpsed_environments(clickhouse, complete)
        for day, key, *load in postgres.query(_LOADS, **parameters):
            if not held.get((day, key), NOTHING).has_load(*load):
                complete.pop(day, None)
        for day, project, *stored in postgres.query(_REFRESHES, **parameters):
            if not in_store.has(day, project, StoredCounts(*stored)):
                complete.pop(day, None)
    return complete


def _progress(postgres: Postgres, epoch: Epoch) -> Progress:
    with glance(Settings.load(), "segments") as clickhouse:
        return Progress.of(complete_days(postgres, clickhouse, epoch.scope, epoch.days, epoch.requested_at))


def _projects(postgres: Postgres, scope: str) -> list[tuple[int]]:
    return postgres.query(
        "SELECT id FROM {projects} AS project WHERE organisation_id = %(organisation)s AND EXISTS ("
        " SELECT FROM {segments} AS segment"
        " WHERE segment.project_id = project.id AND deleted_at IS NULL AND segment.id IS NOT NULL) ORDER BY id",
        organisation=_organisation(scope),
    )


def _organisation(scope: str) -> int:
    return int(scope.removeprefix(_SCOPE))


# A project without environments is a unit without a key.
_UNITS = """
    SELECT project.id, environment.api_key
    FROM {projects} AS project
    LEFT JOIN {environments} AS environment
        ON environment.project_id = project.id AND environment.id IS NOT NULL AND environment.api_key IS NOT NULL
    WHERE project.organisation_id = %(organisation)s AND EXISTS (
        SELECT FROM {segments} AS segment
        WHERE segment.project_id = project.id AND segment.deleted_at IS NULL AND segment.id IS NOT NULL
    )
"""

_COMPLETE_DAYS = """
    SELECT unit.day, coalesce(sum(load.rows), 0)::bigint
    FROM (
        SELECT * FROM unnest(%(days)s::date[]) AS day
        CROSS JOIN unnest(%(projects)s::bigint[], %(keys)s::text[]) AS unit (project_id, api_key)
    ) AS unit
    LEFT JOIN analytics_pipeline.identity_loads AS load
        ON load.snapshot_date = unit.day AND load.environment_key = unit.api_key
        AND load.status = 'completed' AND load.completed_at >= %(since)s
    LEFT JOIN analytics_pipeline.segment_refreshes AS refresh
        ON refresh.snapshot_date = unit.day AND refresh.project_id = unit.project_id
        AND refresh.status = 'completed' AND refresh.completed_at >= %(since)s
    GROUP BY unit.day
    HAVING bool_and(refresh.project_id IS NOT NULL AND (load.environment_key IS NOT NULL OR unit.api_key IS NULL))
"""

_LOADS = """
    SELECT load.snapshot_date, load.environment_key, load.captured_at, load.rows
    FROM analytics_pipeline.identity_loads AS load
    WHERE load.environment_key = ANY(%(keys)s) AND load.snapshot_date = ANY(%(days)s) AND load.status = 'completed'
"""

_REFRESHES = """
    SELECT refresh.snapshot_date, refresh.project_id, refresh.counts, refresh.computed_at
    FROM analytics_pipeline.segment_refreshes AS refresh
    WHERE refresh.project_id = ANY(%(projects)s) AND refresh.snapshot_date = ANY(%(days)s)
        AND refresh.status = 'completed'
"""


SEGMENTS = Feature(
    name="segments",
    assets=("raw_identities", "identity_snapshots", "segment_counts"),
    switched_on=switched_on,
    history=lambda _postgres, _scope, _setting: history(),
    progress=_progress,
    config=run_config,
    stores=(
        ("clickhouse", "clickhouse_url"),
        ("dynamodb", "identities_table"),
        ("landing_zone", "landing_url"),
    ),
    follows_today=True,
)
