"""Days of a report that the ledgers vouch for, in one question; ClickHouse then tells whether they are there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.erasure.subjects import in_postgres
from analytics_pipeline.flows.reporting.errors import AccountForgotten
from analytics_pipeline.flows.reporting.ledger import AccountDay
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.registry import Registry
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import names_of
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
# The account as the ledger of erasures names it.
_SUBJECT = in_postgres("account", ("%(account)s",), "erasure_key.key")
# The version of a day that was swapped before versions were recorded.
UNKNOWN = -1


@dataclass(frozen=True)
class Vouched:
    """Days that the ledgers vouch for at one moment, and those that lack events.

    `versions` are those of the local days whose rollup holds, in milliseconds. `lacking` are UTC days whose events were
    never copied, or not since the day has ended, or were lost. `as_of` is when the first of the others was read. `rows`
    tells how many events ClickHouse must hold of UTC days.
    """

    versions: Mapping[date, int]
    lacking: tuple[date, ...]
    as_of: datetime | None
    rows: Mapping[date, int]


@dataclass(frozen=True)
class Ledgers:
    """Questions about one account's days in a span, as of `now`."""

    postgres: Postgres
    account_id: int
    registry: Registry
    span: Period
    now: datetime

    def vouched(self, days: Sequence[AccountDay], lost: Collection[date] = ()) -> Vouched:
        """The ledgers' word on the account's local days; `lost` are UTC days that are known to lack events.

        Raises:
            AccountForgotten: nothing of the account is stored any more.
        """
        first, end = self.span.since.date(), self.span.until
        ((is_forgotten, dates, versions, lacking, as_of, held_days, held_rows),) = self.postgres.query(
            sql_file(__package__, "vouched.sql", SUBJECT=_SUBJECT),
            account=self.account_id,
            registry=self.registry.version,
            zones=names_of(days[0].account.timezone) if days else [],
            **_runs(days),
            source=REPORTING_EVENTS.name,
            first=first,
            last=end.date(),
            last_begun=min(self.now.date(), (end - timedelta(microseconds=1)).date()),
            now=self.now,
            lost=list(lost),
            unknown=UNKNOWN,
        )
        if is_forgotten:
            raise AccountForgotten(self.account_id)
        return Vouched(_mapping(dates, versions), tuple(lacking or ()), as_of, _mapping(held_days, held_rows))


def _mapping(days: Sequence[date] | None, values: Sequence[int] | None) -> dict[date, int]:
    """Of two arrays; Postgres has NULL for one of nothing."""
    return dict(zip(days or (), values or (), strict=True))


def _runs(days: Sequence[AccountDay]) -> dict[str, list[date] | list[int]]:
    """Runs of neighbouring days whose bounds are as many seconds from their midnight in UTC: a few for each year."""
    runs: list[tuple[date, date, int, int]] = []
    for day in days:
        midnight = day_start(day.date)
        start, until = ((moment - midnight) // _SECOND for moment in (day.bounds.starts_at, day.bounds.ends_at))
        first = day.date
        if runs and runs[-1][1:] == (first - _DAY, start, until):
            first = runs.pop()[0]
        runs.append((first, day.date, start, until))
    return {
        "firsts": [run[0] for run in runs],
        "lasts": [run[1] for run in runs],
        "starts": [run[2] for run in runs],
        "untils": [run[3] for run in runs],
    }
