"""Figures of a month: what the swap leaves for reads."""

from datetime import date, timedelta

from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.days import last_of_month
from tests.product import Product, today
from tests.sensors.enablement import at

LAST = today().replace(day=1) - timedelta(days=1)
FIRST = LAST.replace(day=1)


def test_build__whole_month_of_both_features__is_one_part_which_reads_need_not_make_final(
    empty_product: Product,
) -> None:
    empty_product.add_chat(at(FIRST), user=1, namespace_path="1/2/")
    empty_product.add_suggestion(at(LAST), user=2, event=2, namespace_path="1/2/", payload={"suggestion_size": 3})
    for source in SOURCES:
        DayCopy(source, empty_product.postgres, empty_product.clickhouse, "test").copy(FIRST, LAST)
    usage = DailyUsage(empty_product.clickhouse, empty_product.postgres, "test")

    for _ in range(2):
        built = usage.build(FIRST, last_of_month(FIRST))

        assert {day: rows for day, rows in built.items() if rows} == {FIRST: 1, LAST: 1}
        assert parts(empty_product) == [(2, True)]
        assert figures(empty_product) == [
            (FIRST, "chat", "request_duo_chat_response", 1, "", 1, 0),
            (LAST, "code_suggestions", "code_suggestion_shown_in_ide", 2, "", 1, 3),
        ]


def parts(product: Product) -> list[tuple[int, bool]]:
    """How many rows each part has, and whether it is known to have one row of each key."""
    rows = product.clickhouse.query(
        "SELECT rows, level > 0 FROM system.parts"
        " WHERE database = currentDatabase() AND table = 'ai_usage_daily' AND active"
    )
    return [(rows, bool(is_merged)) for rows, is_merged in rows]


def figures(product: Product) -> list[tuple[date, str, str, int, str, int, int]]:
    rows = product.clickhouse.query(
        "SELECT date, feature, event, user_id, language, occurrences, suggestion_size_sum FROM ai_usage_daily FINAL"
        " ORDER BY date"
    )
    return [
        (day, feature, event, user, language, count, size) for day, feature, event, user, language, count, size in rows
    ]
