"""Reports: one contract for both sources. Whatever is read from where, the numbers are the same."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from analytics_pipeline.flows.reporting.errors import UnknownDimension
from analytics_pipeline.flows.reporting.reads.reports import Comparison, Point
from tests.flows.reporting.desk import add_account, add_conversation, add_event, ask, at, build, reports
from tests.product import Product
from tests.thorough import rarely

either_source = pytest.mark.parametrize("rollup", [True, False], ids=["rollup", "raw"])
# The same from the raw events, whose reading the others show, `make test-all` alone asks for.
mostly_rollups = pytest.mark.parametrize("rollup", [True, *rarely((False,))], ids=["rollup", "raw"])


def _seconds(moment: str) -> int:
    return int(at(moment).timestamp())


def _support_week(product: Product) -> None:
    """Three days of first responses, replies and resolutions, of agent and inbox 1, 1 and 2."""
    add_account(product, 1, "Etc/UTC")
    days = (
        ("2026-01-06 09:00", 1, (20, 10), (10, 5), (100, 80)),
        ("2026-01-14 09:00", 1, (40, 30), (30, 20), (200, 150)),
        ("2026-01-15 09:00", 2, (60, 50), (50, 40), (300, 250)),
    )
    for number, (moment, who, *figures) in enumerate(days, 1):
        add_conversation(product, number, at(moment), who, who)
        for name, (value, business) in zip(
            ("first_response", "reply_time", "conversation_resolved"), figures, strict=True
        ):
            values = {"value": value, "value_in_business_hours": business, "conversation_id": number}
            add_event(product, name, at(moment), user_id=who, inbox_id=who, **values)
    build(product, date(2025, 12, 28), date(2026, 1, 16))


@mostly_rollups
def test_aggregate_and_days__of_an_average__are_weighted(empty_product: Product, rollup: bool) -> None:
    _support_week(empty_product)
    desk, found = reports(empty_product, rollup=rollup), {}
    for business in (False, True):
        query = ask("2026-01-14 00:00", "2026-01-16 00:00", business_hours=business)
        days = desk.timeseries(query, "avg_first_response_time")
        total = desk.aggregate(query, "avg_first_response_time")
        found[business] = (total.value, days.value)
        assert {total.source, days.source} == {"rollup" if rollup else "raw"}
        assert (total.partial, days.partial, total.as_of is None) == (False, False, False)

    first, second = _seconds("2026-01-14"), _seconds("2026-01-15")
    assert found == {
        False: (50.0, [Point(40.0, first, 1), Point(60.0, second, 1)]),
        True: (40.0, [Point(30.0, first, 1), Point(50.0, second, 1)]),
    }


@mostly_rollups
def test_weeks__of_an_agent__begin_on_sunday(empty_product: Product, rollup: bool) -> None:
    _support_week(empty_product)
    query = ask("2026-01-05 00:00", "2026-01-16 00:00", dimension="agent", entity_id=1)
    desk = reports(empty_product, rollup=rollup)

    assert desk.aggregate(query, "resolutions_count").value == 2
    assert desk.timeseries(query, "resolutions_count", "week").value == [
        Point(1, _seconds("2026-01-04")),
        Point(1, _seconds("2026-01-11")),
    ]


@mostly_rollups
def test_summary__by_inbox__has_every_id_of_either_store(empty_product: Product, rollup: bool) -> None:
    _support_week(empty_product)
    add_conversation(empty_product, 9, at("2026-01-15 10:00"), 3)
    desk = reports(empty_product, rollup=rollup)

    def summary(**rest: Any) -> dict[int, list[int | float | None]]:
        answer = desk.summary(ask("2026-01-05 00:00", "2026-01-16 00:00", dimension="inbox", **rest))
        return {inbox: list(figures.values()) for inbox, figures in answer.value.items()}

    assert summary() == {1: [2, 2, 150.0, 30.0, 20.0], 2: [1, 1, 300.0, 60.0, 50.0], 3: [1, 0, None, None, None]}
    assert summary(business_hours=True) == {
        1: [2, 2, 115.0, 20.0, 12.5],
        2: [1, 1, 250.0, 50.0, 40.0],
        3: [1, 0, None, None, None],
    }
    assert summary(entity_id=2) == {2: [1, 1, 300.0, 60.0, 50.0]}


def test_summary__by_team__is_read_from_the_sources_events_by_the_conversations_team(empty_product: Product) -> None:
    """Also with the rollups on. Conversation 2 has moved to team 2; conversation 9 has had no event."""
    _support_week(empty_product)
    add_conversation(empty_product, 9, at("2026-01-15 10:00"), 3, team=3)
    empty_product.execute("UPDATE conversations SET team_id = CASE id WHEN 1 THEN 1 ELSE 2 END WHERE id <= 3")
    desk = reports(empty_product)

    def summary(**rest: Any) -> dict[int, list[int | float | None]]:
        answer = desk.summary(ask("2026-01-05 00:00", "2026-01-16 00:00", dimension="team", **rest))
        assert (answer.source, answer.partial, answer.as_of is None) == ("raw", False, False)
        return {team: list(figures.values()) for team, figures in answer.value.items()}

    assert summary() == {1: [1, 1, 100.0, 20.0, 10.0], 2: [2, 2, 250.0, 50.0, 40.0], 3: [1, 0, None, None, None]}
    assert summary(business_hours=True, entity_id=2) == {2: [2, 2, 200.0, 40.0, 30.0]}


def test_timeseries__of_a_team__counts_as_the_other_dimensions_do(empty_product: Product) -> None:
    """Though nothing was ever copied. Unknown values are 0 seconds; another account's event is nobody's."""
    for account in (1, 2):
        add_account(empty_product, account)
    for number, team in ((1, 5), (2, 5), (3, 6)):
        add_conversation(empty_product, number, at("2026-02-09 09:00"), 1, team=team)
    add_conversation(empty_product, 4, at("2026-02-09 09:00"), 1)
    for day, conversation in (("10", 1), ("10", 1), ("10", 2), ("10", 3), ("10", 4), ("11", 1), ("11", None)):
        moment = at(f"2026-02-{day} 05:00")  # midnight in New York
        add_event(empty_product, "conversation_bot_handoff", moment, conversation_id=conversation)
    for value in (None, float("nan"), float("inf"), 30):
        add_event(empty_product, "reply_time", at("2026-02-10 20:00"), value=value, conversation_id=2)
    add_event(empty_product, "reply_time", at("2026-02-10 20:00"), value=99, conversation_id=2, account_id=2)
    desk = reports(empty_product)
    query = ask("2026-02-10 05:00", "2026-02-12 05:00", dimension="team", entity_id=5)

    handoffs = desk.timeseries(query, "bot_handoffs_count")
    first, second = _seconds("2026-02-10 05:00"), _seconds("2026-02-11 05:00")
    assert (handoffs.value, handoffs.partial) == ([Point(2, first), Point(1, second)], False)
    assert desk.aggregate(query, "bot_handoffs_count").value == 2
    assert desk.timeseries(query, "reply_time").value == [Point(7.5, first, 4), Point(0, second, 0)]
    assert desk.overview(query).value.current["reply_time"] == 7.5


def test_query__dimension_is_none__names_those_that_are() -> None:
    with pytest.raises(
        UnknownDimension, match="'label' is no dimension of reports; there are account, agent, inbox, team"
    ):
        ask("2026-02-10 00:00", "2026-02-12 00:00", dimension="label")


@mostly_rollups
def test_overview__beside_the_previous_period(empty_product: Product, rollup: bool) -> None:
    """The current range begins at noon: that day is in both periods in part, so its rollup is in neither."""
    _support_week(empty_product)
    add_event(empty_product, "conversation_resolved", at("2026-01-10 12:00"), value=7)
    add_event(empty_product, "conversation_resolved", at("2026-01-10 11:59:59.999999"), value=9)
    build(empty_product, date(2026, 1, 10), date(2026, 1, 10))
    answer = reports(empty_product, rollup=rollup).overview(ask("2026-01-10 12:00", "2026-01-16 00:00"))

    assert answer.value == Comparison(
        current={
            "conversations_count": 2,
            "resolutions_count": 3,
            "avg_resolution_time": 169.0,
            "avg_first_response_time": 50.0,
            "reply_time": 40.0,
        },
        previous={
            "conversations_count": 1,
            "resolutions_count": 2,
            "avg_resolution_time": 54.5,
            "avg_first_response_time": 20.0,
            "reply_time": 10.0,
        },
    )
    assert answer.source == ("mixed" if rollup else "raw")


@mostly_rollups
def test_bots__conversation_handed_off_on_two_days__counts_once_in_the_range(
    empty_product: Product, rollup: bool
) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    for day, conversation in (("09", 1), ("10", 1), ("10", 1), ("10", 2), ("11", 1), ("11", None)):
        add_event(empty_product, "conversation_bot_handoff", at(f"2026-02-{day} 09:00"), conversation_id=conversation)
    add_event(empty_product, "conversation_bot_resolved", at("2026-02-10 09:00"), conversation_id=2)
    build(empty_product, date(2026, 2, 8), date(2026, 2, 12))
    desk, query = reports(empty_product, rollup=rollup), ask("2026-02-10 00:00", "2026-02-12 00:00")
    days = desk.timeseries(query, "bot_handoffs_count")
    month = desk.timeseries(query, "bot_handoffs_count", "month")

    assert [(point.value, point.timestamp) for point in days.value] == [
        (2, _seconds("2026-02-10")),
        (1, _seconds("2026-02-11")),
    ]
    assert month.value == [Point(2, _seconds("2026-02-01"))]
    assert {days.source, month.source} == {"rollup" if rollup else "raw"}
    assert desk.bot_summary(query).value == Comparison(
        current={"bot_resolutions_count": 1, "bot_handoffs_count": 2},
        previous={"bot_resolutions_count": 0, "bot_handoffs_count": 1},
    )


@mostly_rollups
def test_bots__range_that_begins_within_a_day__merges_days_and_events(empty_product: Product, rollup: bool) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    for day, conversation in (("09", 1), ("10", 1), ("10", 2), ("11", 3), ("11", -4)):
        add_event(empty_product, "conversation_bot_handoff", at(f"2026-02-{day} 20:00"), conversation_id=conversation)
    build(empty_product, date(2026, 2, 8), date(2026, 2, 12))

    answer = reports(empty_product, rollup=rollup).aggregate(
        ask("2026-02-09 12:00", "2026-02-12 00:00"), "bot_handoffs_count"
    )

    assert (answer.value, answer.source) == (4, "mixed" if rollup else "raw")


def test_bots__rollups_from_before_conversations_were_kept__the_events_answer(empty_product: Product) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    for day, conversation in (("09", 1), ("10", 1), ("10", 2)):
        add_event(empty_product, "conversation_bot_handoff", at(f"2026-02-{day} 20:00"), conversation_id=conversation)
    build(empty_product, date(2026, 2, 8), date(2026, 2, 12))
    empty_product.clickhouse.execute(
        "INSERT INTO reporting_rollups (* EXCEPT conversations)"
        " SELECT * EXCEPT conversations FROM reporting_rollups FINAL"
    )
    desk, query = reports(empty_product), ask("2026-02-09 00:00", "2026-02-12 00:00")

    handoffs, resolutions = (desk.aggregate(query, metric) for metric in ("bot_handoffs_count", "resolutions_count"))

    assert (handoffs.value, handoffs.source) == (2, "raw")
    assert (resolutions.value, resolutions.source) == (0, "rollup")


# One event each half hour, so that a count is the length of a period in half hours.
@pytest.mark.parametrize(
    ("zone", "since", "until", "group_by", "lengths"),
    [
        ("America/New_York", "2026-03-07 12:30", "2026-03-09 16:00", "day", [33, 46, 24]),
        ("Australia/Lord_Howe", "2026-04-04 13:00", "2026-04-05 13:30", "hour", [2] * 24 + [1]),
        *rarely(
            ("America/New_York", "2026-03-06 12:30", "2026-03-09 16:00", "week", [81, 70]),
            ("Asia/Kathmandu", "2025-12-29 18:15", "2026-01-01 18:15", "month", [96, 48]),
            ("America/New_York", "2026-03-07 05:00", "2026-03-10 04:00", "day", [48, 46, 48]),
            ("America/New_York", "2026-03-08 05:00", "2026-03-09 04:00", "hour", [2] * 23),
            ("Australia/Lord_Howe", "2026-04-03 13:00", "2026-04-05 13:30", "day", [48, 49]),
            ("Pacific/Apia", "2011-12-29 10:00", "2011-12-31 10:00", "day", [48, 48]),
            ("Asia/Kathmandu", "2025-12-29 18:15", "2026-01-01 18:15", "year", [96, 48]),
            ("America/St_Johns", "2010-11-06 02:30", "2010-11-08 03:30", "day", [48, 50]),
        ),
    ],
)
@either_source
def test_timeseries__days_of_every_length_and_parts_of_them__hold_exactly_their_moments(
    empty_product: Product, rollup: bool, zone: str, since: str, until: str, group_by: str, lengths: list[int]
) -> None:
    add_account(empty_product, 1, zone)
    start, end = at(since), at(until)
    empty_product.execute(
        "INSERT INTO reporting_events (name, account_id, value, created_at) SELECT 'first_response', 1, 60, moment"
        " FROM generate_series(%s::timestamptz, %s, interval '30 minutes') AS moment",
        start - timedelta(days=3),
        end + timedelta(days=3),
    )
    build(empty_product, start.date() - timedelta(days=2), end.date() + timedelta(days=2))
    desk = reports(empty_product, rollup=rollup)
    answer = desk.timeseries(ask(since, until), "avg_first_response_time", group_by)

    assert [(point.value, point.count) for point in answer.value] == [(60.0, length) for length in lengths]
    assert answer.value[0].timestamp <= start.timestamp() < answer.value[-1].timestamp


@mostly_rollups
def test_average__of_unknown_values_and_of_nothing(empty_product: Product, rollup: bool) -> None:
    add_account(empty_product, 1, "Asia/Kolkata")
    for value in (None, float("nan"), float("inf"), 30):
        add_event(empty_product, "reply_time", at("2026-02-10 20:00"), value=value, user_id=5)
    build(empty_product, date(2026, 2, 9), date(2026, 2, 12))
    desk = reports(empty_product, rollup=rollup)
    # 11 February in India.
    query = ask("2026-02-09 18:30", "2026-02-11 18:30")

    assert desk.aggregate(query, "reply_time").value == 7.5
    assert desk.aggregate(query, "avg_resolution_time").value is None
    assert desk.timeseries(query, "reply_time").value == [
        Point(0, _seconds("2026-02-09 18:30"), 0),
        Point(7.5, _seconds("2026-02-10 18:30"), 4),
    ]
    # An event without an inbox is in no inbox's report.
    assert desk.summary(ask("2026-02-09 18:30", "2026-02-11 18:30", dimension="inbox")).value == {}
    assert list(desk.summary(ask("2026-02-09 18:30", "2026-02-11 18:30", dimension="agent")).value) == [5]


@either_source
def test_range__ends__since_is_inclusive_until_exclusive_to_the_microsecond(
    empty_product: Product, rollup: bool
) -> None:
    add_account(empty_product)
    first = datetime.fromisoformat("2026-02-10T08:00:00.000001+00:00")
    for microsecond in range(3):
        add_event(empty_product, "first_response", first + timedelta(microseconds=microsecond - 1), value=1)
    build(empty_product, date(2026, 2, 9), date(2026, 2, 11))
    query = ask(first.replace(tzinfo=None).isoformat(), "2026-02-10T08:00:00.000002")

    assert reports(empty_product, rollup=rollup).aggregate(query, "avg_first_response_time").value == 1
    assert [p.count for p in reports(empty_product).timeseries(query, "avg_first_response_time", "hour").value] == [1]


@mostly_rollups
def test_conversations__are_counted_live_in_the_accounts_days(empty_product: Product, rollup: bool) -> None:
    add_account(empty_product)
    for number, moment in enumerate(("2026-02-10 04:59", "2026-02-10 05:00", "2026-02-11 05:00"), 1):
        add_conversation(empty_product, number, at(moment), inbox=1, assignee=None if number == 2 else 4)
    desk, query = reports(empty_product, rollup=rollup), ask("2026-02-10 00:00", "2026-02-12 00:00")
    answer = desk.timeseries(query, "conversations_count")

    assert [point.value for point in answer.value] == [1, 1, 1]
    assert (answer.source, answer.partial) == ("raw", False)
    of_agent = ask("2026-02-10 00:00", "2026-02-12 00:00", dimension="agent", entity_id=4)
    assert desk.aggregate(of_agent, "conversations_count").value == 2


@mostly_rollups
def test_answer__day_was_read_before_it_ended_and_not_since__is_partial(empty_product: Product, rollup: bool) -> None:
    """What happened after the reading is unknown, not zero."""
    _support_week(empty_product)
    empty_product.execute(
        "UPDATE analytics_pipeline.source_copies SET copied_at = '2026-01-14 12:00Z' WHERE day = '2026-01-14'"
    )
    desk = reports(empty_product, rollup=rollup)

    answer = desk.aggregate(ask("2026-01-13 00:00", "2026-01-16 00:00"), "resolutions_count")

    day = date(2026, 1, 14)
    assert (answer.value, answer.partial, answer.missing, answer.as_of) == (
        2,
        True,
        ((day, day),),
        at("2026-01-14 12:00"),
    )


@mostly_rollups
def test_answer__range_begins_before_the_first_event__lacks_only_days_from_then_on(
    empty_product: Product, rollup: bool
) -> None:
    """Another account's earlier events make no difference, and an account without any lacks none."""
    _support_week(empty_product)
    add_account(empty_product, 2, "Etc/UTC")
    add_event(empty_product, "first_response", at("2020-01-01 09:00"), account_id=2)
    desk, query = reports(empty_product, rollup=rollup), ask("2017-01-01 00:00", "2026-01-16 00:00")

    whole = desk.aggregate(query, "resolutions_count")
    empty_product.execute("DELETE FROM analytics_pipeline.source_copies WHERE day <= '2026-01-07'")
    lacking = desk.aggregate(query, "resolutions_count")
    empty_product.execute("DELETE FROM reporting_events WHERE account_id = 1")
    eventless = desk.aggregate(query, "resolutions_count")

    assert (whole.value, whole.missing, whole.partial) == (3, (), False)
    assert (lacking.missing, lacking.partial) == (((date(2026, 1, 6), date(2026, 1, 7)),), True)
    assert (eventless.missing, eventless.partial) == ((), False)
