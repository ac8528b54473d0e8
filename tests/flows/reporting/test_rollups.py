"""Rollups: what each event becomes, in the account's own days, and the same however often they are computed."""

from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.held_tables import MonthTable
from analytics_pipeline.flows.reporting import ledger
from analytics_pipeline.flows.reporting import rollups as rollups_module
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.registry import REGISTRY, Dimension, Metric, Payload, Registry
from analytics_pipeline.flows.reporting.rollups import RolledDay, Rollups, days_per_pass
from analytics_pipeline.flows.reporting.zones import zone
from tests.flows.reporting.desk import Rollup, add_account, add_event, at, build, compute, copy, covered, rollups
from tests.product import Product
from tests.thorough import THOROUGH, on_engines, rarely

DAY = date(2026, 2, 11)


def test_rollups__durations_of_a_day__are_counted_and_summed_per_dimension(empty_product: Product) -> None:
    add_account(empty_product)
    for value, business in ((100, 60), (40, 20)):
        add_event(
            empty_product,
            "first_response",
            at("2026-02-11 15:00"),
            value=value,
            value_in_business_hours=business,
            user_id=1,
            inbox_id=1,
        )
    add_event(
        empty_product,
        "conversation_resolved",
        at("2026-02-12 04:00"),
        value=200,
        value_in_business_hours=80,
        user_id=2,
        inbox_id=2,
    )
    # Local midnight of the next day.
    add_event(empty_product, "reply_time", at("2026-02-12 05:00"), value=9, user_id=1, inbox_id=1)

    found = build(empty_product, DAY, DAY)

    d = "2026-02-11"
    assert found == {
        (1, d, "account", 1, "first_response"): (2, 140, 80),
        (1, d, "agent", 1, "first_response"): (2, 140, 80),
        (1, d, "inbox", 1, "first_response"): (2, 140, 80),
        (1, d, "account", 1, "resolutions_count"): (1, 0, 0),
        (1, d, "agent", 2, "resolutions_count"): (1, 0, 0),
        (1, d, "inbox", 2, "resolutions_count"): (1, 0, 0),
        (1, d, "account", 1, "resolution_time"): (1, 200, 80),
        (1, d, "agent", 2, "resolution_time"): (1, 200, 80),
        (1, d, "inbox", 2, "resolution_time"): (1, 200, 80),
    }


def test_rollups__bot_handoffs__count_conversations_once_in_each_dimension(empty_product: Product) -> None:
    add_account(empty_product)
    for conversation, user, inbox in ((1, 1, 1), (1, 1, 1), (2, 1, 1), (3, 2, 2)):
        add_event(
            empty_product,
            "conversation_bot_handoff",
            at("2026-02-11 15:00"),
            conversation_id=conversation,
            user_id=user,
            inbox_id=inbox,
            value=7,
        )

    assert {key[2:4]: row for key, row in build(empty_product, DAY, DAY).items()} == {
        ("account", 1): (3, 0, 0),
        ("agent", 1): (2, 0, 0),
        ("agent", 2): (1, 0, 0),
        ("inbox", 1): (2, 0, 0),
        ("inbox", 2): (1, 0, 0),
    }


@pytest.mark.parametrize("value", [None, *rarely(float("nan"), float("inf"), float("-inf"))])
def test_rollups__value_is_unknown__counts_as_zero_seconds(empty_product: Product, value: float | None) -> None:
    add_account(empty_product)
    for one, other in ((value, 5), (10, value)):
        add_event(
            empty_product, "reply_time", at("2026-02-11 15:00"), value=one, value_in_business_hours=other, user_id=3
        )

    # No inbox: that dimension alone is skipped.
    assert build(empty_product, DAY, DAY) == {
        (1, "2026-02-11", "account", 1, "reply_time"): (2, 10, 5),
        (1, "2026-02-11", "agent", 3, "reply_time"): (2, 10, 5),
    }


def test_rollups__unknown_event_and_account_without_zone__leave_no_rows(empty_product: Product) -> None:
    add_account(empty_product, 1, "America/New_York")
    add_account(empty_product, 2, None)
    add_account(empty_product, 3, "Mars/Olympus")
    for account in (1, 2, 3, 4):
        add_event(empty_product, "conversation_opened", at("2026-02-11 15:00"), account_id=account)
    for account in (2, 3, 4):
        add_event(empty_product, "first_response", at("2026-02-11 15:00"), account_id=account, value=1)

    assert build(empty_product, DAY, DAY) == {}
    assert covered(empty_product) == [(1, "2026-02-11", "America/New_York", True)]


def test_rollups__twice__change_nothing_and_leave_no_staging_table(empty_product: Product) -> None:
    add_account(empty_product)
    add_event(empty_product, "first_response", at("2026-02-11 15:00"), value=1)
    first = (build(empty_product, DAY, DAY), covered(empty_product))

    assert (build(empty_product, DAY, DAY), covered(empty_product)) == first
    assert compute(empty_product, DAY, DAY) == [RolledDay(DAY, 1, 1, complete=True)]
    assert not [table for table in empty_product.tables() if table.startswith("staging")]


def test_rollups__rows_vanish_and_accounts_lose_their_zone__vanish_here(empty_product: Product) -> None:
    for account in (1, 2, 3):
        add_account(empty_product, account)
        add_event(empty_product, "first_response", at("2026-02-11 15:00"), value=1, account_id=account)
    build(empty_product, DAY, DAY)
    empty_product.execute("DELETE FROM reporting_events WHERE account_id = 1")
    add_account(empty_product, 2, None)

    assert build(empty_product, DAY, DAY) == {(3, "2026-02-11", "account", 3, "first_response"): (1, 1, 0)}
    assert covered(empty_product) == [
        (1, "2026-02-11", "America/New_York", True),
        (3, "2026-02-11", "America/New_York", True),
    ]


def test_rollups__days_of_every_length__hold_exactly_their_moments(empty_product: Product) -> None:
    """One event an hour, so a count is the day's length in hours."""
    days = {
        "America/New_York": ("2026-03-08", 23),
        "Europe/Berlin": ("2026-10-25", 25),
        "Asia/Kathmandu": ("2026-05-05", 24),
        "Africa/Cairo": ("2026-04-24", 23),  # clocks go forward at midnight
        "Atlantic/Azores": ("2026-10-25", 25),  # and back over midnight
        "Pacific/Apia": ("2011-12-30", 0),
    }
    if not THOROUGH:
        days = {name: days[name] for name in ("America/New_York", "Atlantic/Azores", "Pacific/Apia")}
    for number, name in enumerate(days, 1):
        add_account(empty_product, number, name)
        start = datetime.fromisoformat(f"{days[name][0]}T00:00").replace(tzinfo=timezone.utc) - timedelta(hours=36)
        empty_product.execute(
            "INSERT INTO reporting_events (name, account_id, created_at)"
            " SELECT 'first_response', %s, %s + hour * interval '1 hour' FROM generate_series(0, 100) AS hour",
            number,
            start,
        )
    found = {}
    for number, (day, _) in enumerate(days.values(), 1):
        build(empty_product, date.fromisoformat(day), date.fromisoformat(day))
        found[number] = rollups(empty_product).get((number, day, "account", number, "first_response"), (0,))[0]

    assert found == {number: hours for number, (_, hours) in enumerate(days.values(), 1)}


def test_rollups__skipped_day_beside_its_neighbours__takes_nothing_of_them(empty_product: Product) -> None:
    add_account(empty_product, 1, "Pacific/Apia")
    for moment in ("2011-12-30 09:59:59.999999", "2011-12-30 10:00"):
        add_event(empty_product, "first_response", at(moment), value=1)

    found = build(empty_product, date(2011, 12, 29), date(2011, 12, 31))

    assert {key[1]: row for key, row in found.items()} == {"2011-12-29": (1, 1, 0), "2011-12-31": (1, 1, 0)}


def test_registry__one_more_metric_and_dimension__are_rolled_up_and_make_days_stale(empty_product: Product) -> None:
    wider = Registry(
        (*REGISTRY.metrics, Metric("opened_count", "conversation_opened", Payload.COUNT)),
        (*REGISTRY.dimensions, Dimension("conversation", "conversation_id")),
    )
    add_account(empty_product)
    add_event(empty_product, "conversation_opened", at("2026-02-11 15:00"), conversation_id=5)
    build(empty_product, DAY, DAY)
    account_day = ledger.account_days(accounts(empty_product.postgres).zoned, DAY, DAY)

    def stale(registry: Registry) -> list[str]:
        covered = ledger.coverage(empty_product.postgres, DAY, DAY)
        sources = ledger.copies(empty_product.postgres, DAY, DAY + timedelta(days=1))
        return list(ledger.stale(account_day, covered, sources, registry))

    assert (stale(REGISTRY), stale(wider), rollups(empty_product)) == ([], ["registry"], {})
    compute(empty_product, DAY, DAY, wider)

    assert (stale(REGISTRY), stale(wider)) == (["registry"], [])
    assert rollups(empty_product) == {
        (1, "2026-02-11", "account", 1, "opened_count"): (1, 0, 0),
        (1, "2026-02-11", "conversation", 5, "opened_count"): (1, 0, 0),
    }


class Killed(BaseException):
    """Stands for the end of the process: nothing may handle it."""


@pytest.mark.parametrize("swaps_before_death", [*rarely(0), 1, *rarely(2)])
def test_rollups__killed_around_the_swap__leave_nothing_that_vouches_for_wrong_rows(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, swaps_before_death: int
) -> None:
    """The zone changes and, after the crash, changes back: the ledger must not take the other's rows for its own."""
    add_account(empty_product, 1, "America/New_York")
    add_event(empty_product, "first_response", at("2026-02-11 03:00"), value=1)
    before = build(empty_product, DAY, DAY)
    add_account(empty_product, 1, "Asia/Tokyo")
    swap, left = MonthTable.show, [None] * swaps_before_death

    def dies(self: MonthTable, *arguments: Any, **named: Any) -> None:
        if not left:
            raise Killed
        left.pop()
        swap(self, *arguments, **named)

    monkeypatch.setattr(MonthTable, "show", dies)
    if swaps_before_death == 2:
        monkeypatch.setattr(ledger, "record", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        compute(empty_product, DAY, DAY)
    monkeypatch.undo()

    assert covered(empty_product) == []
    add_account(empty_product, 1, "America/New_York")
    compute(empty_product, DAY, DAY)
    assert rollups(empty_product) == before == {}
    add_account(empty_product, 1, "Asia/Tokyo")
    compute(empty_product, DAY, DAY)
    assert rollups(empty_product) == {(1, "2026-02-11", "account", 1, "first_response"): (1, 1, 0)}


_ZONES = ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Etc/UTC"]
_EVENT = st.fixed_dictionaries(
    {
        "account_id": st.integers(1, 3),
        "name": st.sampled_from([*REGISTRY.events, "conversation_opened"]),
        "minutes": st.integers(-3 * 24 * 60, 3 * 24 * 60),
        "value": st.none() | st.integers(-8, 80_000).map(lambda eighths: eighths / 8),
        "value_in_business_hours": st.none() | st.integers(0, 80_000).map(lambda eighths: eighths / 8),
        "user_id": st.none() | st.integers(1, 2),
        "inbox_id": st.none() | st.integers(1, 2),
        "conversation_id": st.none() | st.integers(1, 3),
    }
)
_CHANGE = st.sampled_from(["delete", "move", "change", "rezone"])
_MIDDLE = at("2026-04-05 00:00")  # Lord Howe's clocks went back by half an hour nine hours before


def _brute_force(product: Product, zones: dict[int, str], first: date, last: date) -> Rollup:
    events: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    columns = ("account_id", "name", "created_at", "value", "value_in_business_hours", "user_id", "inbox_id")
    rows = product.execute(f"SELECT {', '.join(columns)}, conversation_id FROM reporting_events")
    for row in rows:
        event = dict(zip((*columns, "conversation_id"), row, strict=True))
        day = event["created_at"].astimezone(zone(zones[event["account_id"]])).date()
        for metric in REGISTRY.metrics:
            for dimension in REGISTRY.dimensions:
                id_ = event[dimension.column]
                if metric.event == event["name"] and id_ is not None and first <= day <= last:
                    key = (event["account_id"], day.isoformat(), dimension.name, id_, metric.name)
                    events[key].append(event)
    found = {key: _payload(REGISTRY.metric(key[4]).payload, ones) for key, ones in events.items()}
    return {key: row for key, row in found.items() if row[0]}


def _payload(payload: Payload, events: list[dict[str, Any]]) -> tuple[int, float, float]:
    if payload is Payload.DISTINCT_CONVERSATIONS:
        return len({e["conversation_id"] for e in events} - {None}), 0, 0
    if payload is Payload.COUNT:
        return len(events), 0, 0
    return len(events), *(sum(e[c] or 0 for e in events) for c in ("value", "value_in_business_hours"))  # type: ignore[return-value]


@on_engines(12)
@given(
    events=st.lists(_EVENT, max_size=30),
    zones=st.tuples(*[st.sampled_from(_ZONES)] * 3),
    changes=st.lists(_CHANGE, max_size=3),
)
def test_rollups__any_events_zones_and_changes__equal_brute_force(
    empty_product: Product, events: list[dict[str, Any]], zones: tuple[str, ...], changes: list[str]
) -> None:
    first, last = date(2026, 4, 1), date(2026, 4, 8)
    empty_product.execute("TRUNCATE accounts, reporting_events CASCADE")
    chosen = dict(enumerate(zones, 1))
    for account, name in chosen.items():
        add_account(empty_product, account, name)
    for event in events:
        values = {key: value for key, value in event.items() if key not in ("minutes", "name")}
        add_event(empty_product, event["name"], _MIDDLE + timedelta(minutes=event["minutes"]), **values)
    assert build(empty_product, first, last) == _brute_force(empty_product, chosen, first, last)

    for change in changes:
        if change == "delete":
            empty_product.execute("DELETE FROM reporting_events WHERE id %% 3 = 0")
        elif change == "move":
            empty_product.execute(
                "UPDATE reporting_events SET created_at = created_at + interval '25 hours' WHERE id %% 2 = 0"
            )
        elif change == "change":
            empty_product.execute("UPDATE reporting_events SET value = 1, user_id = NULL WHERE id %% 2 = 1")
        else:
            chosen[1] = "Pacific/Marquesas"
            add_account(empty_product, 1, chosen[1])

    assert build(empty_product, first, last) == _brute_force(empty_product, chosen, first, last)
    assert build(empty_product, first, last) == _brute_force(empty_product, chosen, first, last)


def test_rollups__more_days_than_a_pass__go_pass_by_pass(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "DAYS_PER_PASS", 3)
    add_account(empty_product)
    first, last = DAY, DAY + timedelta(days=6)
    for number in range(7):
        add_event(empty_product, "reply_time", at("2026-02-11 15:00") + timedelta(days=number), value=number)
    copy(empty_product, first, last)
    heard: list[tuple[date, int]] = []

    found = Rollups(
        empty_product.clickhouse, empty_product.postgres, "run", progress=lambda *news: heard.append(news)
    ).compute(first, last)

    assert found == [RolledDay(first + timedelta(days=n), 1, 1, complete=True) for n in range(7)]
    assert heard == [(first + timedelta(days=2), 3), (first + timedelta(days=5), 3), (last, 1)]


@pytest.mark.slow
def test_rollups__many_accounts__go_in_passes_of_fewer_days(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "ACCOUNT_DAYS_PER_PASS", 5)
    for account in (1, 2):
        add_account(empty_product, account)
    heard: list[tuple[date, int]] = []

    found = Rollups(
        empty_product.clickhouse, empty_product.postgres, "run", progress=lambda *news: heard.append(news)
    ).compute(DAY, DAY + timedelta(days=4))

    assert found == [RolledDay(DAY + timedelta(days=n), 0, 2, complete=False) for n in range(5)]
    assert heard == [(DAY + timedelta(days=1), 2), (DAY + timedelta(days=3), 2), (DAY + timedelta(days=4), 1)]


@pytest.mark.parametrize(("accounts", "days"), [(0, 31), (6_000, 31), (10_000, 20), (200_000, 1), (1_000_000, 1)])
def test_days_per_pass__number_of_accounts__bounds_the_account_days_of_a_statement(accounts: int, days: int) -> None:
    assert days_per_pass(accounts) == days


def test_rollups__answer_of_the_insert_is_lost__nothing_counts_twice(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has done it, and the connection breaks: sent again into the same table it would double it all."""
    add_account(empty_product)
    add_event(empty_product, "first_response", at("2026-02-11 15:00"), value=1)
    raw_stream = empty_product.clickhouse.client.raw_stream
    lost: list[str] = []

    def losing(statement: str, *arguments: Any, **rest: Any) -> Any:
        answer = raw_stream(statement, *arguments, **rest)
        if "INSERT INTO" in statement and "reporting_rollups" in statement and not lost:
            lost.append(statement)
            raise OperationalError("the connection was reset")
        return answer

    monkeypatch.setattr(empty_product.clickhouse.client, "raw_stream", losing)

    assert build(empty_product, DAY, DAY) == {(1, "2026-02-11", "account", 1, "first_response"): (1, 1, 0)}
    assert lost
    assert not [table for table in empty_product.tables() if table.startswith("staging")]
