"""Days of a report that the ledgers vouch for, in one question; ClickHouse then tells whether they are there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.erasure.subjects import in_postgres
from analytics_pipeline.flows.reporting.errors import AccountForgotten
from analytics_pipeline.flows.reporting.ledger import AccountDay
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.registry import Registry
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import day_bounds, names_of
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
        """The ledgers' word on the account's local days, from the first to the last.

        `lost` are UTC days that are known to lack events.

        Raises:
            AccountForgotten: nothing of the account is stored any more.
        """
        first, end = self.span.since.date(), self.span.until
        ((is_forgotten, dates, versions, lacking, as_of, held_days, held_rows),) = self.postgres.query(
            sql_file(__package__, "vouched.sql", SUBJECT=_SUBJECT),
            account=self.account_id,
            registry=self.registry.version,
            zones=[*names_of(days[0].account.timezone)] if days else [],
            **(_runs(days[0].account.timezone, days[0].date, days[-1].date) if days else _NO_RUNS),
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


@lru_cache(maxsize=64)
def _runs(timezone: str, first: date, last: date) -> Mapping[str, Sequence[date] | Sequence[int]]:
    """Runs of neighbouring days whose bounds are as many seconds from their midnight in UTC: a few for each year."""
    runs: list[tuple[date, date, int, int]] = []
    for day in day_bounds(timezone, first, last):
        midnight = day_start(day.date)
        start, until = ((moment - midnight) // _SECOND for moment in (day.starts_at, day.ends_at))
        begun = day.date
        if runs and runs[-1][1:] == (begun - _DAY, start, until):
            begun = runs.pop()[0]
        runs.append((begun, day.date, start, until))
    return {
        "firsts": [run[0] for run in runs],
        "lasts": [run[1] for run in runs],
        "starts": [run[2] for run in runs],
        "untils": [run[3] for run in runs],
    }


_NO_RUNS: Mapping[str, Sequence[date] | Sequence[int]] = {"firsts": [], "lasts": [], "starts": [], "untils": []}
