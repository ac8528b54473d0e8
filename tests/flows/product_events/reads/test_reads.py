"""Reads equal pandas over any range, whatever of it was computed, came late, or is read from events."""

import random
from dataclasses import astuple
from datetime import datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.product_events.aggregates.tables import QUANTILE_ERROR
from analytics_pipeline.flows.product_events.reads import (
    auth,
    cocoons,
    counts,
    failures,
    integrations,
    requests,
    tasks,
    users,
)
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Reading
from tests.flows.product_events.events import ORGANISATION, OTHER, an_id, frame, random_events, store
from tests.flows.product_events.test_build import RETENTION, build
from tests.product import Product, today
from tests.thorough import on_engines

# Around the end of a month, so that a range may be in two partitions of figures.
DAYS = [today() - timedelta(days=number) for number in range(35, 25, -1)]
WHOSE = (ORGANISATION, OTHER, None)


def reading(product: Product, now: datetime | None = None, retention: int = RETENTION) -> Reading:
    return Reading(product.clickhouse, product.postgres, retention, now or datetime.now(timezone.utc))


def asked(events: pd.DataFrame, query: EventQuery) -> pd.DataFrame:
    """The events that a question is about."""
    whose = (events.organisation_id == query.organisation_id) | (query.organisation_id is None)
    found: pd.DataFrame = events[whose & (events.date >= query.first) & (events.date < query.end)]
    return found


def number(rows: pd.DataFrame, *types: str) -> int:
    return int(rows.event_type.isin(types).sum())


def near(value: float | None) -> Any:
    return None if value is None or pd.isna(value) else pytest.approx(value)


def quantile(durations: "pd.Series[Any]", share: float) -> Any:
    if durations.empty:
        return None
    return pytest.approx(durations.quantile(share, interpolation="lower"), rel=QUANTILE_ERROR + 1e-9, abs=1e-9)


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def assert_equal_pandas(one: Reading, events: pd.DataFrame, query: EventQuery) -> None:
    """Every read over the range against what pandas says of the events in it."""
    rows = asked(events, query)
    assert users.active(one, query).value == rows.user_id.nunique()
    daily = {day: (part.user_id.nunique(), int(part.user_id.notna().sum())) for day, part in rows.groupby("date")}
    found = {row.day: (row.active_users, row.total_events) for row in users.daily(one, query).value}
    assert found == {day: daily.get(day, (0, 0)) for day in query.days}
    monday = rows.date.map(lambda day: day - timedelta(days=day.weekday()))
    weekly = {week: part.user_id.nunique() for week, part in rows.groupby(monday)} if len(rows) else {}
    assert {row.day: row.active_users for row in users.weekly(one, query).value if row.active_users} == {
        week: count for week, count in weekly.items() if count
    }
    _assert_tasks(one, rows, query)
    _assert_latency(one, rows, query)
    _assert_by_dimension(one, rows, query)
    _assert_auth_and_cocoons(one, rows, query)


def _assert_tasks(one: Reading, rows: pd.DataFrame, query: EventQuery) -> None:
    done = rows[rows.event_type == "task_completed"].duration_ms.dropna()
    completed, failed = number(rows, "task_completed"), number(rows, "task_failed")
    assert tasks.overview(one, query).value == tasks.Tasks(
        created=number(rows, "task_created"),
        started=number(rows, "task_started"),
        completed=completed,
        failed=failed,
        cancelled=number(rows, "task_cancelled"),
        success_rate=share(completed, completed + failed),
        avg_duration_ms=near(done.mean()),
        p95_duration_ms=quantile(done, 0.95),
    )
    daily = {day: number(part, "task_created") for day, part in rows.groupby("date")}
    found = {row.day: row.tasks and row.tasks.created for row in tasks.daily(one, query).value}
    assert found == {day: daily.get(day, 0) for day in query.days}


def _assert_latency(one: Reading, rows: pd.DataFrame, query: EventQuery) -> None:
    calls = rows[rows.event_type == "api_request"]
    keys = ["service", "endpoint", "method"]

    def latency(key: tuple[Any, ...], part: pd.DataFrame) -> tuple[Any, ...]:
        durations = part.duration_ms.dropna()
        percentiles = [quantile(durations, level) for level in (0.5, 0.95, 0.99)]
        bad, broken = part.status_code.between(400, 499).sum(), (part.status_code >= 500).sum()
        return (*key, len(part), near(durations.mean()), *percentiles, bad, broken)

    expected = {key: latency(key, part) for key, part in calls.groupby(keys)}
    whole = requests.by_endpoint(one, query).value
    assert {(row.service, row.endpoint, row.method): astuple(row) for row in whole} == expected
    slowness = [row.p99_duration_ms for row in whole if row.p99_duration_ms is not None]
    assert slowness == sorted(slowness, reverse=True)
    hours = requests.hourly(one, query).value
    found = {(row.hour, *astuple(row.latency)[:3]): astuple(row.latency) for row in hours}
    assert found == {key: latency(key[1:], part) for key, part in calls.groupby(["hour", *keys])}
    assert [row.hour for row in hours] == sorted((row.hour for row in hours), reverse=True)


def _assert_by_dimension(one: Reading, rows: pd.DataFrame, query: EventQuery) -> None:
    health = rows[rows.event_type.str.startswith("integration_")]
    kinds = ("integration_connected", "integration_disconnected", "integration_used", "integration_error")
    assert {row.provider: astuple(row) for row in integrations.by_provider(one, query).value} == {
        provider: (
            provider,
            *(number(part, kind) for kind in kinds),
            part.user_id.nunique(),
            share(number(part, kinds[3]), number(part, *kinds[2:])),
        )
        for provider, part in health.groupby("provider")
    }
    errors = rows[rows.event_type == "application_error"].sort_values(["timestamp", "event_id"])
    found = {(row.service, row.error_type): row for row in failures.summary(one, query).value}
    assert {key: (row.error_count, row.affected_users, row.first_at) for key, row in found.items()} == {
        key: (len(part), part.user_id.nunique(), part.timestamp.iloc[0])
        for key, part in errors.groupby(["service", "error_type"])
    }
    for key, part in errors.groupby(["service", "error_type"]):
        first = part[part.timestamp == part.timestamp.iloc[0]]
        assert found[key].sample_error_message in set(first.error_message)
    assert {(row.event_type, row.name, row.service): row.events for row in counts.by_type(one, query).value} == {
        key: len(part) for key, part in rows.groupby(["event_type", "name", "service"])
    }
    assert sum(row.count.events for row in counts.daily(one, query).value) == len(rows)


def _assert_auth_and_cocoons(one: Reading, rows: pd.DataFrame, query: EventQuery) -> None:
    logins = rows[rows.event_type == "auth_login_attempt"]
    kinds = ("auth_login_attempt", "auth_code_verified", "auth_token_refresh")
    good = int(logins.success.map(bool).sum())
    assert auth.summary(one, query).value == auth.AuthStats(
        len(logins),
        good,
        len(logins) - good,
        number(rows, kinds[1]),
        number(rows, kinds[2]),
        rows[rows.event_type.isin(kinds)].user_id.nunique(),
        share(good, len(logins)),
    )
    of_cocoons = rows[rows.event_type.str.startswith("cocoon_")]
    sessions = of_cocoons[of_cocoons.event_type == "cocoon_disconnected"].duration_seconds.dropna()
    assert cocoons.summary(one, query).value == cocoons.CocoonActivity(
        registrations=number(rows, "cocoon_registered"),
        connections=number(rows, "cocoon_connected"),
        disconnections=number(rows, "cocoon_disconnected"),
        claims=number(rows, "cocoon_claimed"),
        avg_session_duration_seconds=near(sessions.mean()),
        unique_cocoons=of_cocoons.cocoon_id.nunique(),
    )
    known = of_cocoons[of_cocoons.event_type.isin(["cocoon_registered", "cocoon_connected"])].cocoon_id.nunique()
    assert cocoons.ever_known(one, query).value == known


@pytest.fixture
def filled(empty_product: Product) -> tuple[Product, pd.DataFrame]:
    """Ten days: some computed, some with events that came after that, some never computed."""
    dice = random.Random(7)  # noqa: S311
    early, late = random_events(dice, 400, DAYS), random_events(dice, 100, DAYS)
    now = empty_product.clickhouse.scalar("SELECT now64(3, 'UTC')")
    late = [{**one, "event_id": an_id(10_000 + place), "received_at": now} for place, one in enumerate(late)]
    store(empty_product.clickhouse, early)
    build(empty_product, DAYS[1:4])
    build(empty_product, DAYS[5:9])
    store(empty_product.clickhouse, [*late, *early[:20]])
    return empty_product, frame([*early, *late])


def test_reads__of_any_range_and_organisation__equal_pandas(filled: tuple[Product, pd.DataFrame]) -> None:
    product, events = filled
    bounds = st.tuples(st.integers(0, len(DAYS)), st.integers(0, len(DAYS))).filter(lambda pair: pair[0] < pair[1])

    @on_engines(10)
    @given(bounds, st.sampled_from(WHOSE))
    def check(pair: tuple[int, int], whose: int | None) -> None:
        query = EventQuery(whose, DAYS[0] + timedelta(days=pair[0]), DAYS[0] + timedelta(days=pair[1]))
        assert_equal_pandas(reading(product), events, query)

    check()
