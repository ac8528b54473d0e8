"""Active users: distinct over a day, a week, or any range, exactly."""

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.product_events.aggregates.tables import DAILY_ACTIVE_USERS
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading

WEEK, MONTH = timedelta(days=7), timedelta(days=30)


@dataclass(frozen=True)
class ActiveUsers:
    """Distinct users of a period that begins with `day` (UTC), and their events; None where a day of it is unknown."""

    day: date
    active_users: int | None
    total_events: int | None


@dataclass(frozen=True)
class ActiveNow:
    """Distinct users of the UTC day `day`, of the 7 days that it ends, and of the 30; None where one is unknown."""

    day: date
    today: int | None
    week: int | None
    month: int | None


def daily(reading: Reading, query: EventQuery) -> Answer[tuple[ActiveUsers, ...]]:
    """Each day of the range, the newest first."""
    return _by_period(reading, query, {day: day for day in query.days})


def weekly(reading: Reading, query: EventQuery) -> Answer[tuple[ActiveUsers, ...]]:
    """Each week, from Monday on, the newest first; of the first and the last the days that are in the range."""
    return _by_period(reading, query, {day: day - timedelta(days=day.weekday()) for day in query.days})


def active(reading: Reading, query: EventQuery) -> Answer[int | None]:
    """Distinct users of the whole range; of the days that are known. None: no day of it is."""
    answer = reading.rows(DAILY_ACTIVE_USERS, query, _DISTINCT)
    ((users,),) = answer.value
    return answer.of(users if any(answer.coverage.knows(day) for day in query.days) else None)


def active_now(reading: Reading, organisation_id: int | None, day: date) -> Answer[ActiveNow]:
    """Distinct users of the day and of the last 7 and 30 days, that day among them."""
    end = day + timedelta(days=1)
    query = EventQuery(organisation_id, end - MONTH, end)
    answer = reading.rows(DAILY_ACTIVE_USERS, query, _NOW, day=day, week=end - WEEK)
    ((today, week, month),) = answer.value

    def known(first: date, value: int) -> int | None:
        return value if all(answer.coverage.knows(one) for one in query.days if one >= first) else None

    return answer.of(ActiveNow(day, known(day, today), known(end - WEEK, week), known(end - MONTH, month)))


def _by_period(reading: Reading, query: EventQuery, periods: dict[date, date]) -> Answer[tuple[ActiveUsers, ...]]:
    answer = reading.rows(DAILY_ACTIVE_USERS, query, _PERIODS, days=[*periods], periods=[*periods.values()])
    found = {period: (users, events) for period, users, events in answer.value}
    unknown = {periods[day] for day in periods if not answer.coverage.knows(day)}
    return answer.of(
        tuple(
            ActiveUsers(one, None, None) if one in unknown else ActiveUsers(one, *found.get(one, (0, 0)))
            for one in sorted({*periods.values()}, reverse=True)
        )
    )


_DISTINCT = "SELECT uniqExactMerge(users) FROM {figures}"

_NOW = """
    SELECT
        uniqExactMergeIf(users, date = {{day:Date}}),
        uniqExactMergeIf(users, date >= {{week:Date}}),
        uniqExactMerge(users)
    FROM {figures}
"""

_PERIODS = """
    SELECT
        arrayElement({{periods:Array(Date)}}, indexOf({{days:Array(Date)}}, date)) AS period,
        uniqExactMerge(users), sum(total_events)
    FROM {figures}
    GROUP BY period
"""
