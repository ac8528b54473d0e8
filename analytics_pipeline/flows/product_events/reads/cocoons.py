"""Cocoons: what they did, and how long their sessions took."""

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.product_events.aggregates.tables import COCOON_ACTIVITY
from analytics_pipeline.flows.product_events.reads.figures import Values, by_day, mean, whole
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading
from analytics_pipeline.flows.product_events.source import EVENTS


@dataclass(frozen=True)
class CocoonActivity:
    """Cocoons of a range. A session is what a disconnection ended; the mean is weighted by session. None: of none."""

    registrations: int
    connections: int
    disconnections: int
    claims: int
    avg_session_duration_seconds: float | None
    unique_cocoons: int


@dataclass(frozen=True)
class CocoonsOfDay:
    """A UTC day's cocoons; None: nobody knows them."""

    day: date
    activity: CocoonActivity | None


def daily(reading: Reading, query: EventQuery) -> Answer[tuple[CocoonsOfDay, ...]]:
    """Each day of the range, the newest first."""
    answer = reading.rows(COCOON_ACTIVITY, query, _FIGURES.format(group="date", figures="{figures}"))
    return answer.of(tuple(CocoonsOfDay(*one) for one in by_day(query, answer, _activity, _activity(_NONE))))


def summary(reading: Reading, query: EventQuery) -> Answer[CocoonActivity | None]:
    """The whole range; its cocoons are distinct over the range. None: no day of it is known."""
    answer = reading.rows(COCOON_ACTIVITY, query, _FIGURES.format(group="0", figures="{figures}"))
    return whole(query, answer, lambda rows: _activity(rows[0][1:] if rows else _NONE))


def ever_known(reading: Reading, query: EventQuery) -> Answer[int]:
    """Distinct cocoons that were registered or connected in the range."""
    answer = reading.rows(COCOON_ACTIVITY, query, "SELECT uniqExactMerge(known) FROM {figures}")
    return answer.of(answer.value[0][0])


def connected_lately(reading: Reading, organisation_id: int | None) -> int:
    """Distinct cocoons that connected in the last 24 hours, from the events: hours are not in the figures."""
    whose = "true" if organisation_id is None else "organisation_id = {organisation:UInt64}"
    since = reading.now - timedelta(hours=24)
    return int(
        reading.clickhouse.scalar(
            f"SELECT uniqExact(cocoon_id) FROM {EVENTS}"
            f" WHERE {whose} AND event_type = 'cocoon_connected' AND toDate(timestamp) >= {{day:Date}}"
            " AND timestamp > {since:DateTime64(3, 'UTC')} AND timestamp <= {until:DateTime64(3, 'UTC')}",
            organisation=organisation_id or 0,
            day=since.date(),
            since=since,
            until=reading.now,
        )
    )


def _activity(values: Values) -> CocoonActivity:
    registrations, connections, disconnections, claims, sessions, seconds, cocoons = values
    return CocoonActivity(registrations, connections, disconnections, claims, mean(seconds, sessions), cocoons)


_NONE: Values = (0, 0, 0, 0, 0, 0.0, 0)

_FIGURES = """
    SELECT
        {group} AS part, sum(registrations), sum(connections), sum(disconnections), sum(claims), sum(sessions),
        sum(session_seconds_sum), uniqExactMerge(cocoons)
    FROM {figures}
    GROUP BY part
"""
