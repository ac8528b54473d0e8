"""A product that has something of everything that the pages ask about."""

from datetime import datetime, timedelta, timezone

import pytest

from analytics_pipeline.orchestration.partitions import range_tags
from tests.flows.reporting.desk import add_account, add_event
from tests.product import Product, condition, document, today

SEGMENTS, REPORTING = (
    ("raw_identities", "identity_snapshots", "segment_counts"),
    ("reporting_events", "reporting_rollups"),
)
AI_USAGE = ("duo_chat_events", "code_suggestion_events", "ai_usage_daily")


@pytest.fixture
def shop(product: Product) -> Product:
    """Segment 1 is counted, 2 is counted by the engine, 3 cannot be; a desk with one event; AI events, one refused."""
    noon = datetime.combine(today(), datetime.min.time(), timezone.utc)
    product.add_segment(2, condition("REGEX", "plan", "pro(?=$)"))
    product.add_segment(3, condition("MODULO", "age", "0|0"))
    product.put(document("alice", plan="pro", age=3), document("bob", plan="free", age=4))
    add_account(product, 1, "UTC")
    add_event(product, "first_response", noon, value=100, user_id=7)
    product.switch_ai_usage(on=True)
    product.add_chat(noon, namespace_path="1/2/")
    product.add_chat(noon, event=99)
    product.add_suggestion(noon, namespace_path="1/2/", payload={"language": "go"})
    assert product.materialise(*SEGMENTS).success
    assert product.materialise(*AI_USAGE).success
    around = range_tags(today() - timedelta(days=1), today() + timedelta(days=1))
    assert product.materialise(*REPORTING, tags=around).success
    return product
