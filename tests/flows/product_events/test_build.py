"""Aggregates are what pandas makes of the same events, and days stay whole whatever happens to a build."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from analytics_pipeline.flows.product_events.aggregates.build import Build, BuiltDay
from analytics_pipeline.flows.product_events.aggregates.tables import (
    AGGREGATES,
    API_LATENCY,
    API_LATENCY_DAILY,
    AUTH_EVENTS,
    COCOON_ACTIVITY,
    DAILY_ACTIVE_USERS,
    ERRORS,
    ERRORS_DAILY,
    EVENT_COUNTS,
    INTEGRATION_HEALTH,
    QUANTILE_ERROR,
    TASK_STATS,
    Aggregate,
)
from analytics_pipeline.flows.product_events.errors import EventsVanished
from analytics_pipeline.flows.product_events.ledger import recorded
from tests.flows.product_events.events import OTHER, an_id, at, event, frame, random_events, store
from tests.product import Product, today
from tests.thorough import THOROUGH, rarely

DAYS = [today() - timedelta(days=number) for number in range(40, 34, -1)]
RETENTION = 90


def build_of(product: Product, aggregate: Aggregate, **options: Any) -> Build:
    return Build(aggregate, product.clickhouse, product.postgres, "run", RETENTION, **options)


def build(product: Product, days: Sequence[date] = DAYS, only: Iterable[Aggregate] = AGGREGATES) -> None:
    for aggregate in only:
        build_of(product, aggregate).build(days[0], days[-1])


def figures(product: Product, aggregate: Aggregate, columns: Sequence[str]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The visible rows by key; of the columns, those that are asked for."""
    keys = ", ".join(aggregate.key)
    rows = product.clickhouse.query(f"SELECT {keys}, {', '.join(columns)} FROM {aggregate.name} FINAL")
    size = len(aggregate.key)
    return {tuple(row[:size]): tuple(row[size:]) for row in rows}


Measures = Mapping[str, Callable[[pd.DataFrame], Any]]


def _of_type(*types: str) -> Callable[[pd.DataFrame], int]:
    return lambda rows: int(rows.event_type.isin(types).sum())


def _users(rows: pd.DataFrame) -> int:
    return int(rows.user_id.nunique())


def _durations(rows: pd.DataFrame) -> "pd.Series[Any]":
    found: pd.Series[Any] = rows[rows.event_type.isin(["task_completed", "api_request"])].duration_ms.dropna()
    return found


def _quantile(share: float) -> Callable[[pd.DataFrame], Any]:
    def of(rows: pd.DataFrame) -> Any:
        found = _durations(rows)
        if found.empty:
            return None
        return pytest.approx(found.quantile(share, interpolation="lower"), rel=QUANTILE_ERROR + 1e-9, abs=1e-9)

    return of


def _mean(rows: "pd.Series[Any]") -> Any:
    return None if rows.empty else pytest.approx(rows.mean())


ORACLE: Mapping[Aggregate, tuple[Callable[[pd.DataFrame], "pd.Series[Any]"], Measures]] = {
    DAILY_ACTIVE_USERS: (lambda f: f.user_id.notna(), {"active_users": _users, "total_events": len}),
    TASK_STATS: (
        lambda f: f.event_type.str.startswith("task_"),
        {
            **{what: _of_type(f"task_{what}") for what in ("created", "started", "completed", "failed", "cancelled")},
            "avg_duration_ms": lambda rows: _mean(_durations(rows)),
            "p95_duration_ms": _quantile(0.95),
        },
    ),
    API_LATENCY: (
        lambda f: f.event_type == "api_request",
        {
            "request_count": len,
            "avg_duration_ms": lambda rows: _mean(_durations(rows)),
            "p50_duration_ms": _quantile(0.5),
            "p95_duration_ms": _quantile(0.95),
            "p99_duration_ms": _quantile(0.99),
            "error_4xx_count": lambda rows: int(rows.status_code.between(400, 499).sum()),
            "error_5xx_count": lambda rows: int((rows.status_code >= 500).sum()),
        },
    ),
    API_LATENCY_DAILY: (
        lambda f: f.event_type == "api_request",
        {
            "request_count": len,
            "avg_duration_ms": lambda rows: _mean(_durations(rows)),
            "p50_duration_ms": _quantile(0.5),
            "p95_duration_ms": _quantile(0.95),
            "p99_duration_ms": _quantile(0.99),
            "error_4xx_count": lambda rows: int(rows.status_code.between(400, 499).sum()),
            "error_5xx_count": lambda rows: int((rows.status_code >= 500).sum()),
        },
    ),
    INTEGRATION_HEALTH: (
        lambda f: f.event_type.str.startswith("integration_"),
        {
            "connections": _of_type("integration_connected"),
            "disconnections": _of_type("integration_disconnected"),
            "uses": _of_type("integration_used"),
            "errors": _of_type("integration_error"),
            "unique_users": _users,
        },
    ),
    AUTH_EVENTS: (
        lambda f: f.event_type.isin(["auth_login_attempt", "auth_code_verified", "auth_token_refresh"]),
        {
            "login_attempts": _of_type("auth_login_attempt"),
            "successful_logins": lambda rows: int(rows[rows.event_type == "auth_login_attempt"].success.sum()),
            "failed_logins": lambda rows: int((rows[rows.event_type == "auth_login_attempt"].success == False).sum()),  # noqa: E712
            "code_verifications": _of_type("auth_code_verified"),
            "token_refreshes": _of_type("auth_token_refresh"),
            "unique_users_authenticated": _users,
        },
    ),
    COCOON_ACTIVITY: (
        lambda f: f.event_type.str.startswith("cocoon_"),
        {
            "registrations": _of_type("cocoon_registered"),
            "connections": _of_type("cocoon_connected"),
            "disconnections": _of_type("cocoon_disconnected"),
            "claims": _of_type("cocoon_claimed"),
            "avg_session_duration_seconds": lambda rows: _mean(
                rows[rows.event_type == "cocoon_disconnected"].duration_seconds.dropna()
            ),
            "unique_cocoons": lambda rows: int(rows.cocoon_id.nunique()),
        },
    ),
    ERRORS: (
        lambda f: f.event_type == "application_error",
        {
            "error_count": len,
            "affected_users": _users,
            "sample_error_message": lambda rows: rows.sort_values(["timestamp", "event_id"]).error_message.iloc[0],
        },
    ),
    ERRORS_DAILY: (
        lambda f: f.event_type == "application_error",
        {
            "error_count": len,
            "affected_users": _users,
            "sample_error_message": lambda rows: rows.sort_values(["timestamp", "event_id"]).error_message.iloc[0],
        },
    ),
    EVENT_COUNTS: (lambda f: f.event_type != "", {"events": len, "last_at": lambda rows: rows.timestamp.max()}),
}


def expected(events: Iterable[Mapping[str, Any]], aggregate: Aggregate) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The aggregate's rows, by pandas."""
    about, measures = ORACLE[aggregate]
    found = frame(events)
    groups = found[about(found)].groupby(list(aggregate.key))
    return {key: tuple(measure(rows) for measure in measures.values()) for key, rows in groups}


def assert_equal_pandas(
    product: Product, events: Sequence[Mapping[str, Any]], only: Iterable[Aggregate] = AGGREGATES
) -> None:
    for aggregate in only:
        measures = ORACLE[aggregate][1]
        assert figures(product, aggregate, [*measures]) == expected(events, aggregate), aggregate.name


def test_aggregates__of_random_events__equal_pandas_also_with_late_and_repeated_ones(empty_product: Product) -> None:
    events = random_events(random.Random(1), 300, DAYS)  # noqa: S311
    store(empty_product.clickhouse, events)
    build(empty_product)
    assert_equal_pandas(empty_product, events)
    late = random_events(random.Random(2), 400, DAYS)[300:]  # noqa: S311
    store(empty_product.clickhouse, [*late, *late[:50], *events[:50]])
    for _ in range(2):
        build(empty_product)
        assert_equal_pandas(empty_product, [*events, *late])
    assert not {name for name in empty_product.tables() if name.startswith("staging_")}


def test_build__of_a_day_whose_rows_vanished__leaves_no_figure_behind(empty_product: Product) -> None:
    events = random_events(random.Random(3), 100, DAYS[:2])  # noqa: S311
    store(empty_product.clickhouse, events)
    # One that counts users, one by the hour, one of several dimensions.
    some = AGGREGATES if THOROUGH else (DAILY_ACTIVE_USERS, API_LATENCY, EVENT_COUNTS)
    build(empty_product, DAYS[:2], some)
    # Deleted on purpose, which the builder is told: else it keeps what it has.
    empty_product.clickhouse.execute("ALTER TABLE analytics_events DROP PARTITION {day:String}", day=f"{DAYS[0]}")
    left = [one for one in events if one["timestamp"].date() == DAYS[1]]
    for _ in range(2):
        for aggregate in some:
            build_of(empty_product, aggregate, even_if_fewer=True).build(DAYS[0], DAYS[1])
        assert_equal_pandas(empty_product, left, some)


@pytest.mark.parametrize("aggregate", [DAILY_ACTIVE_USERS, *rarely(API_LATENCY)], ids=lambda one: one.name)
def test_build__of_a_day_that_lost_events__keeps_its_figures(empty_product: Product, aggregate: Aggregate) -> None:
    events = random_events(random.Random(4), 100, DAYS[:3])  # noqa: S311
    store(empty_product.clickhouse, events)
    build(empty_product, DAYS[:3], [aggregate])
    empty_product.clickhouse.execute("ALTER TABLE analytics_events DROP PARTITION {day:String}", day=f"{DAYS[1]}")
    # What has come since does not make up for it.
    now = empty_product.clickhouse.scalar("SELECT now64(3, 'UTC')")
    more = random_events(random.Random(5), 400, [DAYS[1]])[200:]  # noqa: S311
    store(empty_product.clickhouse, [{**one, "received_at": now} for one in more])
    for _ in range(2):
        found = build_of(empty_product, aggregate).build(DAYS[0], DAYS[2])
        assert [found[day].kept for day in DAYS[:3]] == [False, True, False]
        measures = ORACLE[aggregate][1]
        assert figures(empty_product, aggregate, [*measures]) == expected(events, aggregate)


def test_build__of_an_expired_day__keeps_its_figures(empty_product: Product) -> None:
    events = [event(1, at(40), user_id=an_id(1))]
    store(empty_product.clickhouse, events)
    build(empty_product, [DAYS[0]], [DAILY_ACTIVE_USERS])
    store(empty_product.clickhouse, [event(2, at(40), user_id=an_id(2), received_at=at(40, 13))])
    expired = replace(build_of(empty_product, DAILY_ACTIVE_USERS), retention_days=40)
    assert expired.build(DAYS[0], DAYS[0]) == {DAYS[0]: BuiltDay(0, 1, kept=True)}
    assert figures(empty_product, DAILY_ACTIVE_USERS, ["active_users"]) == {(1, DAYS[0]): (1,)}
    kept_longer = replace(expired, retention_days=41)
    assert kept_longer.build(DAYS[0], DAYS[0]) == {DAYS[0]: BuiltDay(1, 2)}
    assert figures(empty_product, DAILY_ACTIVE_USERS, ["active_users"]) == {(1, DAYS[0]): (2,)}


def test_build__while_events_go__changes_nothing(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    store(empty_product.clickhouse, [event(number, at(40), user_id=an_id(number)) for number in range(3)])
    compute = Build._compute

    def and_drop(self: Build, *arguments: Any) -> None:
        self.clickhouse.execute("TRUNCATE TABLE analytics_events")
        compute(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Build, "_compute", and_drop)
        with pytest.raises(EventsVanished, match="stay as they were"):
            build_of(empty_product, DAILY_ACTIVE_USERS).build(DAYS[0], DAYS[0])
    assert recorded(empty_product.postgres, DAILY_ACTIVE_USERS.name, DAYS[0], DAYS[0]) == {}
    assert not {name for name in empty_product.tables() if name.startswith("staging_")}


@pytest.mark.parametrize("dies_at", ["complete", "show", "record"])
def test_build__that_dies_half_way__is_not_vouched_for_and_made_good_by_the_next(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    first = [event(1, at(40), user_id=an_id(1)), event(2, at(40), user_id=an_id(2), organisation_id=OTHER)]
    late = [event(3, at(40), user_id=an_id(3))]
    store(empty_product.clickhouse, first)
    build(empty_product, [DAYS[0]], [DAILY_ACTIVE_USERS])
    store(empty_product.clickhouse, late)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    where = {
        "complete": "analytics_pipeline.flows.held_tables.complete",
        "show": "analytics_pipeline.flows.held_tables.make_visible",
        "record": "analytics_pipeline.flows.product_events.aggregates.build.record",
    }[dies_at]
    with monkeypatch.context() as patch:
        patch.setattr(where, die)
        with pytest.raises(KeyboardInterrupt):
            build(empty_product, [DAYS[0]], [DAILY_ACTIVE_USERS])
    (known,) = recorded(empty_product.postgres, DAILY_ACTIVE_USERS.name, DAYS[0], DAYS[0]).values()
    assert known.holds == (dies_at == "complete")
    of_which = [*first, *late] if dies_at == "record" else first
    measures = ["active_users", "total_events"]
    found = figures(empty_product, DAILY_ACTIVE_USERS, measures)
    assert found == expected(of_which, DAILY_ACTIVE_USERS)
    build(empty_product, [DAYS[0]], [DAILY_ACTIVE_USERS])
    assert figures(empty_product, DAILY_ACTIVE_USERS, measures) == expected([*first, *late], DAILY_ACTIVE_USERS)


def test_build__of_events_that_have_just_come__leaves_them_to_readers(empty_product: Product) -> None:
    now = empty_product.clickhouse.scalar("SELECT now64(3, 'UTC')")
    store(
        empty_product.clickhouse,
        [
            event(1, at(40), user_id=an_id(1), received_at=now - timedelta(seconds=61)),
            event(2, at(40), user_id=an_id(2), received_at=now),
        ],
    )
    assert build_of(empty_product, DAILY_ACTIVE_USERS).build(DAYS[0], DAYS[0]) == {DAYS[0]: BuiltDay(1, 1)}
    assert figures(empty_product, DAILY_ACTIVE_USERS, ["active_users"]) == {(1, DAYS[0]): (1,)}
