"""Requests to the services' endpoints: how many, how many failed, how long they took."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from analytics_pipeline.flows.product_events.aggregates.tables import API_LATENCY, API_LATENCY_DAILY, SKETCH
from analytics_pipeline.flows.product_events.reads.figures import mean, quantiles
from analytics_pipeline.flows.product_events.reads.query import ASCENDING, DESCENDING, EventQuery, Order
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading, Row

MOST_HOURS = 1_000
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Latency:
    """Requests to one endpoint in an hour or a range of them; durations in milliseconds, None where none is known.

    The mean is weighted by request; a percentile is within 1 % of the duration at its rank.
    """

    service: str
    endpoint: str
    method: str
    request_count: int
    avg_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    error_4xx_count: int
    error_5xx_count: int


@dataclass(frozen=True)
class LatencyOfHour:
    """`hour` is its first moment (UTC)."""

    hour: datetime
    latency: Latency


@dataclass(frozen=True)
class Endpoints:
    """Narrows a question to requests of these; None: of all."""

    service: str | None = None
    endpoint: str | None = None
    method: str | None = None

    @property
    def condition(self) -> str:
        wanted = [f"{name} = {{{{{name}:String}}}}" for name in self.parameters]
        return " AND ".join(wanted) or "true"

    @property
    def parameters(self) -> dict[str, str]:
        named = {"service": self.service, "endpoint": self.endpoint, "method": self.method}
        return {name: value for name, value in named.items() if value is not None}


ALL = Endpoints()


# The hour, whether no duration is known, the p99 or 0, and the endpoint: the key of a row and its place.
Place: TypeAlias = tuple[datetime, bool, float, str, str, str]
_ORDER = Order(
    (
        ("part", "DateTime('UTC')", DESCENDING),
        ("known = 0", "Bool", ASCENDING),
        ("if(known = 0, 0, sketch[3])", "Float64", "-{}"),
        ("service", "String", ASCENDING),
        ("endpoint", "String", ASCENDING),
        ("method", "String", ASCENDING),
    )
)


def hourly(
    reading: Reading,
    query: EventQuery,
    of: Endpoints = ALL,
    *,
    limit: int = MOST_HOURS,
    after: Place | None = None,
) -> Answer[tuple[LatencyOfHour, ...]]:
    """Each endpoint's hours in the range, the newest first, in an hour the slowest by p99 first.

    Only those after this place of the order.
    """
    wanted, place = _ORDER.after(after)
    select = _SELECT.format(hour="hour", figures="{figures}", of=of.condition)
    select = f"{select} HAVING {wanted} ORDER BY part DESC, {_SLOWEST} {_LIMIT}"
    answer = reading.rows(API_LATENCY, query, select, **of.parameters, **place, limit=limit)
    return answer.of(tuple(LatencyOfHour(row[0], _latency(row)) for row in answer.value))


def by_endpoint(
    reading: Reading, query: EventQuery, of: Endpoints = ALL, *, limit: int = MOST_HOURS
) -> Answer[tuple[Latency, ...]]:
    """Each endpoint over the whole range, the slowest by p99 first."""
    select = f"{_SELECT.format(hour='0', figures='{figures}', of=of.condition)} ORDER BY {_SLOWEST}"
    answer = reading.rows(API_LATENCY_DAILY, query, f"{select} {_LIMIT}", **of.parameters, limit=limit)
    return answer.of(tuple(_latency(row) for row in answer.value))


def slowest(reading: Reading, organisation_id: int | None, *, limit: int = 10) -> Answer[tuple[Latency, ...]]:
    """The slowest endpoints by their p99 over the last 24 hours: the one that has begun, and the 23 before it."""
    since = reading.now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    query = EventQuery(organisation_id, since.date(), reading.now.date() + _DAY)
    select = _SELECT.format(hour="0", figures="{figures}", of="hour >= {{since:DateTime('UTC')}}")
    answer = reading.rows(API_LATENCY, query, f"{select} ORDER BY {_SLOWEST} {_LIMIT}", since=since, limit=limit)
    return answer.of(tuple(_latency(row) for row in answer.value))


def _latency(row: Row) -> Latency:
    _, service, endpoint, method, count, durations, total, sketch, client_errors, server_errors = row
    median, p95, p99 = quantiles(sketch)
    average = mean(total, durations)
    return Latency(service, endpoint, method, count, average, median, p95, p99, client_errors, server_errors)


_SELECT = f"""
    SELECT
        {{hour}} AS part, service, endpoint, method, sum(request_count), sum(durations) AS known, sum(duration_ms_sum),
        {SKETCH}(duration_sketch) AS sketch, sum(error_4xx_count), sum(error_5xx_count)
    FROM {{figures}}
    WHERE {{of}}
    GROUP BY part, service, endpoint, method
"""
_SLOWEST = "known = 0, sketch[3] DESC, service, endpoint, method"
_LIMIT = "LIMIT {{limit:UInt32}}"
