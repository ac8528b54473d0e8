"""Questions of the checks of product events: do the figures say what the events say, is each event there once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.product_events.aggregates.build import lacks_events
from analytics_pipeline.flows.product_events.aggregates.tables import Aggregate
from analytics_pipeline.flows.product_events.ledger import Recorded, recorded, recorded_events
from analytics_pipeline.flows.product_events.measures import MEASURES
from analytics_pipeline.flows.product_events.source import has_expired, milliseconds, rows_by_day, seen_days
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

# A clock that is further off than this is wrong, not merely imprecise.
SKEW = timedelta(minutes=1)
# Parts whose rows have all expired are dropped when parts are merged next.
_DROPPED_WITHIN = timedelta(days=2)
# So many ids are looked at together; of more events a part has its turn each hour.
_IDS_PER_LOOK = 2_000_000


@dataclass(frozen=True)
class FigureDifference:
    """A measure of an organisation's day whose figures are not what its events give."""

    day: date
    organisation_id: int
    measure: str
    figures: float
    events: float


def figure_differences(
    postgres: Postgres, clickhouse: ClickHouse, aggregate: Aggregate, days: Sequence[date]
) -> Audited[list[FigureDifference]]:
    """Figures of the neighbouring days that are not what the events give by another statement than their own.

    Compared are the days that hold and whose events are all there, by the events that their figures are of.
    """
    known = recorded(postgres, aggregate.name, days[0], days[-1])
    covered = _comparable(clickhouse, {day: one for day, one in known.items() if day in days and one.holds})
    if not covered:
        return Audited(0, [])
    measures = MEASURES[aggregate.name]
    rows = clickhouse.query(
        sql_file(
            __package__,
            "figure_differences.sql",
            TABLE=quoted(aggregate.name),
            FIGURES=", ".join(f"toFloat64({measure.of_figures})" for measure in measures),
            EVENTS=", ".join(f"toFloat64({measure.of_events})" for measure in measures),
        ),
        days=[*covered],
        until=[milliseconds(one.settled_until) for one in covered.values()],
    )
    found = [
        FigureDifference(day, organisation, measure.name, shown, counted)
        for day, organisation, figures, events in rows
        for measure, shown, counted in zip(measures, figures, events, strict=True)
        if abs(shown - counted) > 1e-6 * max(1.0, abs(counted))
    ]
    return Audited(len(covered), found)


def _comparable(clickhouse: ClickHouse, known: Mapping[date, Recorded]) -> dict[date, Recorded]:
    if not known:
        return {}
    moments = {day: one.settled_until for day, one in known.items()}
    seen = seen_days(clickhouse, [*known], max(moments.values()), moments)
    return {day: one for day, one in known.items() if not lacks_events(seen[day], one)}


def lost_events(
    postgres: Postgres, clickhouse: ClickHouse, today: date, retention_days: int
) -> Audited[dict[date, tuple[int, int]]]:
    """Days whose events should all be there still and are not: how many figures are of, and how many there are."""
    wanted = {
        day: events for day, events in recorded_events(postgres).items() if not has_expired(day, today, retention_days)
    }
    held = rows_by_day(clickhouse)
    return Audited(
        len(wanted), {day: (events, held.get(day, 0)) for day, events in wanted.items() if held.get(day, 0) < events}
    )


def repeated_events(clickhouse: ClickHouse, now: datetime) -> Audited[dict[int, int]]:
    """Events of each organisation that readers see more than once, over all days.

    Of very many events a part is looked at, another one each hour, so that a look needs little memory.
    """
    rows = sum(rows_by_day(clickhouse).values())
    parts = rows // _IDS_PER_LOOK + 1
    turn = int(now.timestamp() // 3600) % parts
    found = clickhouse.query(_REPEATED, parts=parts, turn=turn)
    return Audited(rows // parts, dict(found))


def expired_days(clickhouse: ClickHouse, today: date, retention_days: int) -> Audited[list[date]]:
    """Days whose events should have gone by now and have not."""
    held = rows_by_day(clickhouse)
    oldest = today - timedelta(days=retention_days) - _DROPPED_WITHIN
    return Audited(len(held), sorted(day for day in held if day < oldest))


@dataclass(frozen=True)
class Share:
    """So many of all events, and the service with the most of them."""

    events: int
    of_all: int
    service: str

    @property
    def share(self) -> float:
        return self.events / self.of_all if self.of_all else 0.0


def skewed_events(clickhouse: ClickHouse, days: Sequence[date]) -> Share:
    """Events of the neighbouring days whose client's clock was more than a minute off, of those where that is known."""
    ((events, of_all, service),) = clickhouse.query(
        _SKEWED, first=days[0], last=days[-1], skew=SKEW // timedelta(milliseconds=1)
    )
    return Share(events, of_all, service)


def refused_events(postgres: Postgres, clickhouse: ClickHouse, days: Sequence[date]) -> Share:
    """Dead letters of the days, by when they came, among all that was received on them."""
    ((refused,),) = postgres.query(_REFUSED, since=day_start(days[0]), until=day_start(next_day(days[-1])))
    received = clickhouse.scalar(_RECEIVED, since=day_start(days[0]), until=day_start(next_day(days[-1])))
    return Share(refused, refused + received, "")


# An id is there twice only with another key: with the same one its rows are one row.
_REPEATED = """
    SELECT organisation_id, sum(seen - 1) FROM (
        SELECT organisation_id, event_id, count() AS seen FROM analytics_events FINAL
        WHERE cityHash64(event_id) % {parts:UInt64} = {turn:UInt64}
        GROUP BY organisation_id, event_id
        HAVING seen > 1
    )
    GROUP BY organisation_id
    SETTINGS max_bytes_before_external_group_by = 536870912
"""

_SKEWED = """
    SELECT
        countIf(abs(skew_ms) > {skew:Int64}) AS skewed,
        count(skew_ms) AS known,
        arrayElement(topKWeighted(1)(toString(service), toUInt64(ifNull(abs(skew_ms) > {skew:Int64}, 0))), 1)
    FROM analytics_events FINAL
    WHERE toDate(timestamp) BETWEEN {first:Date} AND {last:Date}
"""

_REFUSED = """
    SELECT count(*) FROM analytics_pipeline.dead_letters
    WHERE flow = 'product_events' AND recorded_at >= %(since)s AND recorded_at < %(until)s
"""

_RECEIVED = """
    SELECT count() FROM analytics_events
    WHERE received_at >= {since:DateTime64(3, 'UTC')} AND received_at < {until:DateTime64(3, 'UTC')}
"""
