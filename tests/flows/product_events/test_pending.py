"""Older days are asked for exactly when their figures lack something that can still be had."""

import random
from collections.abc import Sequence
from datetime import date, timedelta

from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES, DAILY_ACTIVE_USERS
from analytics_pipeline.flows.product_events.pending import touched_days
from tests.flows.product_events.events import an_id, at, event, random_events, store
from tests.flows.product_events.test_build import DAYS, RETENTION, build
from tests.product import Product, today

START = DAYS[0]


def touched(product: Product, start: date = START, retention: int = RETENTION) -> list[date]:
    now = product.clickhouse.scalar("SELECT now64(3, 'UTC')")
    return touched_days(product.postgres, product.clickhouse, now, start, retention)


def _filled(product: Product, days: Sequence[date] = DAYS[:4]) -> None:
    store(product.clickhouse, random_events(random.Random(6), 40, days))  # noqa: S311
    build(product, days)


def test_touched__days_that_were_never_computed__are_asked_for_but_not_the_last_three(empty_product: Product) -> None:
    store(
        empty_product.clickhouse,
        [event(number, at(days)) for number, days in enumerate((41, 40, 38, 3, 2, 1, 0))],
    )
    assert touched(empty_product) == [DAYS[0], DAYS[2], today() - timedelta(days=3)]
    assert touched(empty_product, retention=38) == [today() - timedelta(days=3)]
    assert touched(empty_product, start=today()) == []


def test_touched__late_events_and_repeats__only_days_with_new_events(empty_product: Product) -> None:
    _filled(empty_product)
    assert touched(empty_product) == []
    # The same row once more, as a client whose answer got lost may have it sent.
    empty_product.clickhouse.execute("INSERT INTO analytics_events SELECT * FROM analytics_events LIMIT 5")
    assert touched(empty_product) == []
    now = empty_product.clickhouse.scalar("SELECT now64(3, 'UTC')")
    store(empty_product.clickhouse, [event(1000, at(38), received_at=now)])
    # Received before the figures were computed, and stored after it.
    store(empty_product.clickhouse, [event(1001, at(37))])
    assert touched(empty_product) == [DAYS[2], DAYS[3]]
    build(empty_product, [DAYS[3]])
    assert touched(empty_product) == [DAYS[2]]


def test_touched__figures_are_lost__are_asked_for_while_the_events_are_there(empty_product: Product) -> None:
    _filled(empty_product)
    empty_product.clickhouse.execute(f"TRUNCATE TABLE {DAILY_ACTIVE_USERS.name}")
    assert touched(empty_product) == DAYS[:4]
    empty_product.clickhouse.execute("TRUNCATE TABLE analytics_events")
    store(empty_product.clickhouse, [event(1, at(40), user_id=an_id(1))])
    # One event of many: what can be computed now is less than what was.
    assert touched(empty_product) == []


def test_touched__another_statement_computes_the_figures__all_days_are_asked_for(empty_product: Product) -> None:
    _filled(empty_product, DAYS[:2])
    empty_product.execute(
        "UPDATE analytics_pipeline.product_event_days SET definition = 'older' WHERE relation = %s AND day = %s",
        DAILY_ACTIVE_USERS.name,
        DAYS[1],
    )
    assert touched(empty_product) == [DAYS[1]]
    assert len(AGGREGATES) == 10
