"""The history that a reporting time zone asks for: the rollups of all closed days of the account, in that zone."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

from analytics_pipeline.flows.enablement.feature import Feature, Progress
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.event_history import first_event
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import ROLLUPS
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import canonical_of_stored, day_bounds, local_date, names_of
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

_SCOPE = "account:"


def switched_on(postgres: Postgres) -> dict[str, str]:
    """The accounts with a valid reporting zone: scope to zone."""
    return {f"{_SCOPE}{account.id}": account.timezone for account in accounts(postgres).zoned}


def history(postgres: Postgres, scope: str, zone: str) -> tuple[date, date] | None:
    """From the day of the account's first event to yesterday, both in the zone; None when there is no such day."""
    first = first_event(postgres, _account(scope))
    yesterday = local_date(zone, datetime.now(timezone.utc)) - timedelta(days=1)
    if first is None or local_date(zone, first) > yesterday:
        return None
    return local_date(zone, first), yesterday


def complete_days(
    postgres: Postgres, scope: str, zone: str, days: Sequence[date], since: datetime | None
) -> dict[date, int]:
    """The days that are rolled up in the zone, from all their events, with the number of all accounts' events.

    Those only that were rolled up after `since`, when it is given.
    """
    parameters = {
        "source": REPORTING_EVENTS.name,
        "account": _account(scope),
        "zones": [*names_of(zone)],
        "days": list(days),
    }
    return dict(postgres.query(_COMPLETE_DAYS, registry=REGISTRY.version, since=since, **parameters))


def own_rows(clickhouse: ClickHouse, scope: str, zone: str, days: tuple[date, date]) -> int:
    """The account's own events of the local days, both inclusive."""
    bounds = day_bounds(zone, *days)
    rows: int = clickhouse.scalar(
        "SELECT count() FROM reporting_events WHERE account_id = {account:Int64}"
        " AND created_at >= {starts_at:DateTime64(6, 'UTC')} AND created_at < {ends_at:DateTime64(6, 'UTC')}",
        account=_account(scope),
        starts_at=bounds[0].starts_at,
        ends_at=bounds[-1].ends_at,
    )
    return rows


def _account(scope: str) -> int:
    return int(scope.removeprefix(_SCOPE))


# A day that begins before the first copied one, which is that of ANALYTICS_START_DATE, is as complete as it can be.
_COMPLETE_DAYS = """
    SELECT covered.date, coalesce(copy.rows, 0)
    FROM analytics_pipeline.held_rollups AS covered
    LEFT JOIN analytics_pipeline.source_copies AS copy ON copy.source = %(source)s AND copy.day = covered.date
    WHERE covered.account_id = %(account)s AND covered.date = ANY(%(days)s) AND covered.timezone = ANY(%(zones)s)
        AND covered.registry_version = %(registry)s
        AND covered.computed_at >= coalesce(%(since)s::timestamptz, '-infinity')
        AND (
            covered.complete
            OR covered.starts_at < (
                SELECT min(day) FROM analytics_pipeline.source_copies WHERE source = %(source)s
            )::timestamp AT TIME ZONE 'UTC'
        )
"""


REPORTING = Feature(
    name="reporting",
    assets=("reporting_events", "reporting_rollups"),
    switched_on=lambda postgres, _flags: switched_on(postgres),
    history=history,
    progress=lambda postgres, epoch: Progress.of(
        complete_days(
            postgres, epoch.scope, epoch.setting, epoch.days, epoch.requested_at if epoch.from_scratch else None
        )
    ),
    canonical_setting=canonical_of_stored,
    # A day in a zone overlaps the UTC days beside it.
    margin=timedelta(days=1),
    # A run rolls up all accounts, so the next one's history may be complete already when it has ended.
    is_shared=True,
    tables=(REPORTING_EVENTS.held, ROLLUPS),
    own_rows=own_rows,
)
