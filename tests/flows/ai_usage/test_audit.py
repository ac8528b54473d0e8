"""What the checks of AI usage find, over days that were copied at different moments."""

from datetime import timedelta

from analytics_pipeline.flows.ai_usage.audit import CountDifference, duplicate_events, missing_events, uncounted_events
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from tests.product import Product, today
from tests.sensors.enablement import at

DAYS = [today() - timedelta(days=number) for number in range(9, 4, -1)]


def _copy(product: Product, first: int, last: int) -> None:
    DayCopy(DUO_CHAT_EVENTS, product.postgres, product.clickhouse, "run").copy(DAYS[first], DAYS[last])


def test_audit__days_of_a_range__are_judged_each_by_its_own_copy(empty_product: Product) -> None:
    for number, day in enumerate(DAYS):
        empty_product.add_chat(at(day), id=number)
        # Nobody is registered for it, so it is refused.
        empty_product.add_chat(at(day), id=50 + number, event=99)
    _copy(empty_product, 0, 2)
    _copy(empty_product, 3, 4)
    store, warehouse = empty_product.postgres, empty_product.clickhouse
    DailyUsage(warehouse, store, "run").build(DAYS[0], DAYS[-1])
    assert missing_events(store, warehouse, DUO_CHAT_EVENTS, DAYS) == Audited(len(DAYS), {})
    assert duplicate_events(warehouse, DUO_CHAT_EVENTS, DAYS) == {}
    assert uncounted_events(store, warehouse, DAYS) == Audited(len(DAYS), [])

    columns = "user_id, event, namespace_path, timestamp"
    # What has come since is the next copy's; a row that is gone from the source is not.
    empty_product.add_chat(at(DAYS[0]), id=100)
    empty_product.execute("DELETE FROM ai_duo_chat_events WHERE id = 1")
    warehouse.execute(f"ALTER TABLE duo_chat_events DROP PARTITION '{DAYS[2]}'")
    warehouse.execute(
        f"INSERT INTO duo_chat_events (id, {columns}) SELECT id, user_id, event, 'twice/', timestamp"
        " FROM duo_chat_events WHERE id = 4"
    )

    assert missing_events(store, warehouse, DUO_CHAT_EVENTS, DAYS).found == {
        DAYS[1]: CountDifference("duo_chat_events", 0, 1),
        DAYS[2]: CountDifference("duo_chat_events", 1, 0),
        DAYS[4]: CountDifference("duo_chat_events", 1, 2),
    }
    assert duplicate_events(warehouse, DUO_CHAT_EVENTS, DAYS) == {DAYS[4]: 1}
    assert uncounted_events(store, warehouse, DAYS).found == [
        (DAYS[2], CountDifference("duo_chat_events", 0, 1)),
        (DAYS[4], CountDifference("duo_chat_events", 2, 1)),
    ]
