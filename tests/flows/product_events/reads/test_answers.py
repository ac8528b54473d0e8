"""Answers about today, about expired days, about figures that were lost, and about one organisation alone."""

import random
from datetime import date, timedelta

import pytest

from analytics_pipeline.flows.product_events.aggregates.tables import DAILY_ACTIVE_USERS
from analytics_pipeline.flows.product_events.errors import InvalidRange
from analytics_pipeline.flows.product_events.reads import events, overview, requests, tasks, users
from analytics_pipeline.flows.product_events.reads.plan import Coverage
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from tests.flows.product_events.events import ORGANISATION, OTHER, an_id, at, event, frame, random_events, store
from tests.flows.product_events.reads.test_reads import DAYS, assert_equal_pandas, reading
from tests.flows.product_events.test_build import build
from tests.product import Product, today


def test_reads__of_one_organisation__never_count_another_ones_events(empty_product: Product) -> None:
    others = random_events(random.Random(8), 200, DAYS[:3])  # noqa: S311
    store(empty_product.clickhouse, [{**one, "organisation_id": OTHER} for one in others])
    build(empty_product, DAYS[:2])
    query = EventQuery(ORGANISATION, DAYS[0], DAYS[3])
    assert_equal_pandas(reading(empty_product), frame([event(1, at(80))]), query)
    assert events.events(reading(empty_product), query) == []
    assert overview.overview(reading(empty_product), ORGANISATION).value == overview.Overview(
        0, 0, 0, 0, 0, 0, None, total_cocoons=0, active_cocoons=0, total_integrations=0
    )


def test_today__events_of_this_minute__are_added_to_the_figures_once(empty_product: Product) -> None:
    now = empty_product.clickhouse.scalar("SELECT now64(3, 'UTC')")
    start = at(0, 0)
    settled = [event(number, start, user_id=an_id(number), received_at=start) for number in range(3)]
    fresh = [event(number, start, user_id=an_id(number - 5), received_at=now) for number in (7, 8)]
    store(empty_product.clickhouse, [*settled, *fresh])
    build(empty_product, [today()], [DAILY_ACTIVE_USERS])
    query = EventQuery(ORGANISATION, today(), today() + timedelta(days=1))
    answer = users.daily(reading(empty_product, now), query)
    assert answer.value == (users.ActiveUsers(today(), 4, 5),)
    assert answer.coverage == Coverage("mixed", (), now)
    store(empty_product.clickhouse, [event(9, start, user_id=an_id(9), received_at=now)])
    assert users.daily(reading(empty_product), query).value == (users.ActiveUsers(today(), 5, 6),)


def test_users__of_day_week_and_month__are_distinct_over_each(empty_product: Product) -> None:
    rows = [
        event(number, at(days, 0), user_id=an_id(user))
        for number, (days, user) in enumerate((days, user) for days in (0, 1, 6, 7, 29, 30) for user in (1, days))
    ]
    store(empty_product.clickhouse, rows)
    build(empty_product, [today() - timedelta(days=30), today()], [DAILY_ACTIVE_USERS])
    found = users.active_now(reading(empty_product), ORGANISATION, today())
    # User 1 is active each day, and counts once.
    assert found.value == users.ActiveNow(today(), today=2, week=3, month=5)
    assert found.coverage.source == "aggregates"


def test_totals__events_have_expired__stay_and_what_was_never_computed_is_unknown(empty_product: Product) -> None:
    days = enumerate((35, 34, 33))
    rows = [event(one, at(days), user_id=an_id(one), event_type="task_created") for one, days in days]
    store(empty_product.clickhouse, rows)
    build(empty_product, DAYS[:2])
    empty_product.clickhouse.execute("TRUNCATE TABLE analytics_events")
    one = reading(empty_product, retention=20)
    found = overview.overview(one, None)
    assert (found.value.total_users, found.value.total_tasks) == (2, 2)
    # Of the days before the first event nothing is missing, nor of those whose events would still be there.
    gap = (DAYS[2], today() - timedelta(days=20))
    assert found.coverage.missing == (gap,)
    assert found.coverage.reason is not None
    assert f"{gap[0]} to {gap[1]}" in found.coverage.reason
    unknown = EventQuery(None, DAYS[2], DAYS[4])
    assert tasks.overview(one, unknown).value is None
    assert tasks.daily(one, unknown).value == (tasks.TasksOfDay(DAYS[3], None), tasks.TasksOfDay(DAYS[2], None))
    assert users.daily(one, EventQuery(None, DAYS[1], DAYS[3])).value == (
        users.ActiveUsers(DAYS[2], None, None),
        users.ActiveUsers(DAYS[1], 1, 1),
    )
    assert users.active(one, unknown).value is None


def test_reads__figures_are_lost__come_from_events_and_are_unknown_without_them(empty_product: Product) -> None:
    store(empty_product.clickhouse, [event(1, at(35), user_id=an_id(1)), event(2, at(34), user_id=an_id(2))])
    build(empty_product, DAYS[:2], [DAILY_ACTIVE_USERS])
    query = EventQuery(ORGANISATION, DAYS[0], DAYS[2])
    assert users.active(reading(empty_product), query).coverage.source == "aggregates"
    empty_product.clickhouse.execute(f"TRUNCATE TABLE {DAILY_ACTIVE_USERS.name}")
    lost = users.active(reading(empty_product), query)
    assert (lost.value, lost.coverage.source, lost.coverage.missing) == (2, "events", ())
    empty_product.clickhouse.execute("TRUNCATE TABLE analytics_events")
    gone = users.active(reading(empty_product), query)
    assert (gone.value, gone.coverage.missing) == (None, ((DAYS[0], DAYS[1]),))


def test_slowest__one_endpoint_is_slow_in_every_hour__is_listed_once(empty_product: Product) -> None:
    now = at(10, 12.5)
    calls = {"event_type": "api_request", "service": "web", "method": "GET", "status_code": 200}
    rows = [
        event(hour, now - timedelta(hours=hour), endpoint="/slow", duration_ms=900 + hour, **calls)
        for hour in range(24)
    ]
    rows += [event(50 + number, now, endpoint="/fast", duration_ms=number, **calls) for number in range(3)]
    # Too old, by a moment.
    rows += [event(90, at(11, 13) - timedelta(milliseconds=1), endpoint="/old", duration_ms=9000, **calls)]
    store(empty_product.clickhouse, rows)
    found = requests.slowest(reading(empty_product, now), ORGANISATION).value
    assert [(row.endpoint, row.request_count) for row in found] == [("/slow", 24), ("/fast", 3)]
    assert found[0].p99_duration_ms == pytest.approx(922, rel=0.01)
    narrowed = requests.by_endpoint(
        reading(empty_product, now), EventQuery(None, at(11).date(), today()), requests.Endpoints(endpoint="/old")
    )
    assert [row.endpoint for row in narrowed.value] == ["/old"]


def test_events__page_by_page_and_narrowed__are_each_there_once(empty_product: Product) -> None:
    rows = [
        event(number, at(3, number // 3), user_id=an_id(number % 2), service="web", endpoint="/x")
        for number in range(9)
    ]
    store(empty_product.clickhouse, [*rows, *rows, event(99, at(3), organisation_id=OTHER)])
    query = EventQuery(ORGANISATION, today() - timedelta(days=3), today() - timedelta(days=2))
    one, found = reading(empty_product), list[events.StoredEvent]()
    after: events.Place | None = None
    while page := events.events(one, query, limit=4, after=after):
        found += page
        after = events.Place(page[-1].timestamp, page[-1].organisation_id, page[-1].event_id)
    assert [stored.timestamp for stored in found] == sorted((row["timestamp"] for row in rows), reverse=True)
    assert {stored.event_id for stored in found} == {row["event_id"] for row in rows}
    assert (found[0].fields, found[0].data) == ({"endpoint": "/x"}, "{}")
    of = events.EventFilter(event_type="project_updated", service="web", user_id=an_id(1))
    assert len(events.events(one, query, of)) == 4
    assert events.events(one, query, events.EventFilter(service="worker")) == []


@pytest.mark.parametrize(
    ("first", "end"),
    [(DAYS[1], DAYS[0]), (DAYS[0], DAYS[0]), (date(1980, 1, 1), DAYS[0]), (date(2000, 1, 1), date(2020, 1, 1))],
)
def test_query__of_no_range__is_refused(first: date, end: date) -> None:
    with pytest.raises(InvalidRange):
        EventQuery(ORGANISATION, first, end)
