"""An account's raw events in the source: when they begin and end, and which of its local days they fill."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics_pipeline.flows.days import Days
from analytics_pipeline.flows.reporting.accounts import Account
from analytics_pipeline.flows.reporting.zones import local_date
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class History:
    """The moments of an account's first and last raw event."""

    account: Account
    first_event: datetime
    last_event: datetime

    @property
    def days(self) -> Days:
        """The account's local days from its first event to its last."""
        zone = self.account.timezone
        return Days(local_date(zone, self.first_event), local_date(zone, self.last_event))

    def closed(self, now: datetime) -> Days | None:
        """Those of them that are over: today's figures follow the live events. None when none is."""
        return self.days.within(None, local_date(self.account.timezone, now) - timedelta(days=1))


def histories(postgres: Postgres, accounts: Sequence[Account]) -> list[History]:
    """The histories of those of the accounts that have events. An index on (account_id, created_at) answers at once."""
    by_id = {account.id: account for account in accounts}
    with postgres.connect() as connection:
        rows = connection.execute(postgres.statement(_HISTORIES), {"accounts": list(by_id)}).fetchall()
    return [History(by_id[id_], first, last) for id_, first, last in rows]


def first_event(postgres: Postgres, account_id: int) -> datetime | None:
    """The moment of the account's first event; None when it has none."""
    ((first,),) = postgres.query(_FIRST, account=account_id)
    found: datetime | None = first
    return found


# Here and below, whatever claims to be older or newer is no history: it may be no date of any calendar that Python
# knows.
_FIRST = """
    SELECT min(created_at)::timestamptz FROM {reporting_events}
    WHERE account_id = %(account)s AND name IS NOT NULL
        AND created_at >= '1990-01-01' AND created_at < '2100-01-01'
"""

_HISTORIES = """
    SELECT account.id, event.first::timestamptz, event.last::timestamptz
    FROM unnest(%(accounts)s::bigint[]) AS account (id)
    CROSS JOIN LATERAL (
        SELECT min(created_at) AS first, max(created_at) AS last FROM {reporting_events}
        WHERE account_id = account.id AND name IS NOT NULL
            AND created_at >= '1990-01-01' AND created_at < '2100-01-01'
    ) AS event
    WHERE event.first IS NOT NULL
    ORDER BY account.id
"""
