"""What a person reads on an asset's page after a run: charts of the last days, and what it cost, in words."""

import re
from datetime import timedelta
from typing import Any

import dagster as dg

from analytics_pipeline.orchestration.metadata import cost_metadata
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.resources.clickhouse.accounting import Cost
from tests.product import Product, document, failure_text, today
from tests.sensors.enablement import ASSETS, at

LAST = today()
BEFORE = LAST - timedelta(days=1)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, dict[str, Any]]:
    """Each materialised partition's metadata."""
    assert result.success, failure_text(result)
    return {
        event.partition: {
            key: value.value for key, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    }


def test_ai_usage_daily__range_of_days__charts_each_event_on_its_last_day(empty_product: Product) -> None:
    for user in (1, 2):
        empty_product.add_chat(at(LAST, 0), user=user)
    empty_product.add_chat(at(LAST, 1), user=2)
    empty_product.add_chat(at(BEFORE))
    empty_product.add_suggestion(at(BEFORE), event=3)

    found = metadata(empty_product.materialise(*ASSETS, tags=range_tags(BEFORE, LAST)), "ai_usage_daily")

    assert found[LAST.isoformat()]["events"].splitlines() == [
        "| event | this day | users | last 14 days |",
        "|---|--:|--:|---|",
        "| code suggestion accepted in ide | 0 | 0 | `▁▁▁▁▁▁▁▁▁▁▁▁█▁` |",
        "| request duo chat response | 3 | 2 | `▁▁▁▁▁▁▁▁▁▁▁▁▃█` |",
    ]
    assert "events" not in found[BEFORE.isoformat()]


def test_cost__of_statements__is_told_in_words_and_units() -> None:
    cost = Cost(statements=3, read_rows=1_234_567, read_bytes=33_500_000, written_rows=12, written_bytes=900, seconds=2)

    assert cost_metadata(cost)["clickhouse_cost"] == (
        "3 statements, 2.0 s: 1,234,567 rows (33.5 MB) read, 12 rows (900 bytes) written"
    )


def test_capture__of_an_environment__tells_its_size_with_a_unit(product: Product) -> None:
    product.put(document("alice", plan="pro"))

    (found,) = metadata(product.materialise("raw_identities"), "raw_identities").values()

    assert found["size"] == f"{found['bytes']} bytes"
    assert re.fullmatch(r"\d{2,3} bytes", found["size"])
