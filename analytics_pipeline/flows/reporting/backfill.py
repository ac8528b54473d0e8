"""Past local days copied and rolled up: what of a history is missing, and doing just that, oldest first.

Nothing is remembered but the ledgers of copies and coverage, so a backfill that died is continued by asking again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.estimate import estimates
from analytics_pipeline.flows.days import Days, contiguous, day_start, next_day
from analytics_pipeline.flows.held_days import note_losses
from analytics_pipeline.flows.held_tables import Estimate
from analytics_pipeline.flows.reporting import ledger
from analytics_pipeline.flows.reporting.accounts import Account, accounts
from analytics_pipeline.flows.reporting.ledger import AccountDay, Copies, account_days, copies, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY, Registry
from analytics_pipeline.flows.reporting.rollups import ROLLUPS, Rollups, days_per_pass
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import utc_days
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

# Account days that are compared with the ledgers at a time: memory stays bounded for any history of any accounts.
_LOOKED_AT = 100_000


@dataclass(frozen=True)
class Plan:
    """The plan of a backfill. `account_days` of the chosen accounts lie in `days`, some on each of `dates`.

    `dates` are computed, `copies` (UTC days) are copied before that.
    """

    days: Days
    account_days: int
    dates: tuple[date, ...]
    copies: tuple[date, ...]


@dataclass(frozen=True)
class Heard:
    """News of a running backfill: computed dates so far, and what is being done."""

    done: int
    doing: str


Progress = Callable[[Heard], None]


@dataclass(frozen=True)
class Backfill:
    """Brings the closed local days of some accounts up to date on behalf of one run.

    Days are computed for all accounts with a reporting zone, as everywhere: a day is replaced as a whole. `recopy`
    reads all source days again and computes all dates, whatever the ledgers say.
    """

    postgres: Postgres
    clickhouse: ClickHouse
    run_id: str
    wanted: Mapping[Account, Days]
    now: datetime
    recopy: bool = False
    registry: Registry = REGISTRY

    def plan(self) -> Plan:
        """The plan for what is missing now; changes nothing but the ledger's word for what ClickHouse has lost."""
        for table in (REPORTING_EVENTS.held, ROLLUPS):
            note_losses(self.postgres, self.clickhouse, table)
        dates: list[date] = []
        missing: set[date] = set()
        for piece in self._pieces(self.days, _LOOKED_AT // len(self.wanted)):
            found = self.missing(piece)
            dates += found
            missing |= set(self._to_copy(found))
        return Plan(self.days, sum(map(len, self.wanted.values())), tuple(dates), tuple(sorted(missing)))

    def estimate(self, plan: Plan) -> Estimate:
        """Rows and bytes that the plan's copies would read from Postgres, from its statistics."""
        return sum(estimates(self.postgres, REPORTING_EVENTS, plan.copies).values(), Estimate())

    @property
    def days(self) -> Days:
        """From the first to the last day of any of the accounts."""
        ranges = self.wanted.values()
        return Days(min(days.first for days in ranges), max(days.last for days in ranges))

    def run(self, plan: Plan, progress: Progress = lambda _: None) -> int:
        """Copy and compute what is missing; returns the number of computed dates.

        Each piece, of as many days as are computed together, is complete before the next begins, so an interruption
        costs one at most.
        """
        done = 0
        copied: set[date] = set()
        size = days_per_pass(len(self._zoned()))
        for piece in self._pieces(Days(plan.dates[0], plan.dates[-1]), size) if plan.dates else ():
            dates = self.missing(piece)
            needed = [day for day in self._to_copy(dates) if day not in copied]
            self._copy(needed, done, progress)
            copied.update(needed)
            self._compute(sorted({*dates, *self._disturbed(needed)}), set(dates), done, progress)
            done += len(dates)
        return done

    def missing(self, days: Days) -> list[date]:
        """The dates of which an account's day is not rolled up, no longer holds, or was computed before it was over."""
        ones = account_days(list(self.wanted), days.first, days.last)
        ours = [one for one in ones if one.date in self.wanted[one.account]]
        if self.recopy:
            return sorted({one.date for one in ours})
        covered = ledger.coverage(self.postgres, days.first, days.last, [account.id for account in self.wanted])
        late = [one for ones in stale(ours, covered, self._sources(days), self.registry).values() for one in ones]
        early = [one for one in ours if (one.account.id, one.date) in covered and not covered[_key(one)].complete]
        return sorted({one.date for one in (*late, *early)})

    def _to_copy(self, dates: Sequence[date]) -> list[date]:
        """The source days of these dates, of all accounts, that ClickHouse lacks or that were read too early."""
        if not dates:
            return []
        sources = self._sources(Days(dates[0], dates[-1]))
        overlapped = {
            day
            for first, last in contiguous(dates)
            for one in account_days(_one_of_each_zone(self._zoned()), first, last)
            for day in utc_days(one.bounds)
            if day <= self.now.date() and (self.recopy or self._is_lacking(day, one, sources))
        }
        return sorted(overlapped)

    def _is_lacking(self, day: date, one: AccountDay, sources: Copies) -> bool:
        if day not in sources.copied_at:
            return True
        over = min(one.bounds.ends_at, day_start(next_day(day)))
        return over <= self.now and sources.copied_at[day] < over

    def _copy(self, days: Sequence[date], done: int, progress: Progress) -> None:
        for first, last in contiguous(days):
            sent = 0

            def report(count: int, first: date = first, last: date = last) -> None:
                nonlocal sent
                sent += count
                progress(Heard(done, f"copying {first} to {last}, {sent / 2**20:,.0f} MB"))

            progress(Heard(done, f"copying {first} to {last}"))
            DayCopy(REPORTING_EVENTS, self.postgres, self.clickhouse, self.run_id, report).copy(first, last)

    def _disturbed(self, copied: Sequence[date]) -> list[date]:
        """The dates whose rollups held until these source days were copied again."""
        found: set[date] = set()
        for first, last in contiguous(copied):
            days = Days(first - timedelta(days=1), last + timedelta(days=1))
            covered = ledger.coverage(self.postgres, days.first, days.last)
            ones = account_days(self._zoned(), days.first, days.last)
            late = stale(ones, covered, self._sources(days), self.registry).get("source", [])
            found |= {one.date for one in late}
        return sorted(found)

    def _compute(self, dates: Sequence[date], counted: set[date], done: int, progress: Progress) -> None:
        for first, last in contiguous(dates):
            progress(Heard(done, f"computing {first} to {last}"))
            Rollups(self.clickhouse, self.postgres, self.run_id, self.registry).compute(first, last)
            done += sum(first <= day <= last for day in counted)
            progress(Heard(done, f"computed until {last}"))

    def _zoned(self) -> Sequence[Account]:
        return accounts(self.postgres).zoned

    def _sources(self, days: Days) -> Copies:
        return copies(self.postgres, days.first - timedelta(days=2), days.last + timedelta(days=2))

    def _pieces(self, days: Days, size: int) -> Iterator[Days]:
        first = days.first
        while first <= days.last:
            piece = Days(first, min(days.last, first + timedelta(days=max(1, size) - 1)))
            yield piece
            first = next_day(piece.last)


def _key(one: AccountDay) -> tuple[int, date]:
    return one.account.id, one.date


def _one_of_each_zone(zoned: Iterable[Account]) -> list[Account]:
    return list({account.timezone: account for account in zoned}.values())
