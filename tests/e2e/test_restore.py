"""The restore drill: ClickHouse is lost whole; the product, our schema in Postgres and the landing zone have survived.

Everything that the pipeline made of them is made again and equals what there was. What cannot be made again, events
that services sent, is named in the operator's guide.
"""

from datetime import timedelta
from typing import Any

import pytest

from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.clickhouse.names import quoted
from tests.flows.reporting.desk import add_account
from tests.product import KEY, Product, condition, document, failure_text, today
from tests.sensors.enablement import at

DAYS = 2
SEGMENTS = {"identities", "segment_counts"}
MADE = SEGMENTS | {
    "reporting_events",
    "reporting_rollups",
    "duo_chat_events",
    "code_suggestion_events",
    "ai_usage_daily",
}
# When a row was written, which nobody reads as a figure.
WRITTEN_AT = {"ingested_at", "computed_at"}


@pytest.fixture
def used(empty_product: Product) -> Product:
    """Every flow that computes has two days of data."""
    product = empty_product
    product.add_organisation()
    product.add_project()
    product.add_environment()
    product.add_segment(1, condition("EQUAL", "plan", "pro"))
    product.put(document("alice", plan="pro"), document("bob", plan="free", since="2024-01-01T10:00:00Z"))
    add_account(product, 7)
    product.switch_ai_usage(on=True)
    for day in (today() - timedelta(days=back) for back in range(DAYS)):
        for number, name in enumerate(("first_response", "reply_time", "resolution")):
            product.execute(
                "INSERT INTO reporting_events (name, value, account_id, inbox_id, user_id, created_at)"
                " VALUES (%s, %s, 7, 1, %s, %s)",
                name,
                10.5 * number,
                number,
                at(day),
            )
        product.add_chat(at(day))
        product.add_suggestion(at(day, 13))
    return product


def _materialise(product: Product, *assets: str) -> None:
    first = (today() - timedelta(days=DAYS - 1)).isoformat()
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": today().isoformat(),
    }
    result = product.materialise(*assets, tags=tags)
    assert result.success, failure_text(result)


def _rebuild(product: Product, made: set[str]) -> None:
    """What the operator's guide says after a loss; the schedules and sensors come to the same by themselves."""
    result = product.materialise("identity_snapshots", "segment_counts")
    assert result.success, failure_text(result)
    if made == MADE:
        _materialise(product, "reporting_events", "reporting_rollups")
        _materialise(product, "duo_chat_events", "code_suggestion_events", "ai_usage_daily")


def _stored(product: Product) -> dict[str, list[Any]]:
    """Every row of every table that readers may query, but for when it was written."""
    found = {}
    for table, engine in product.clickhouse.query(
        "SELECT name, engine FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        " AND NOT startsWith(name, 'schema_versions')"
    ):
        columns = product.clickhouse.query(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}", table=table
        )
        shown = ", ".join(f"toString({quoted(name)})" for (name,) in columns if name not in WRITTEN_AT)
        final = "FINAL" if "Replacing" in engine else ""
        found[table] = product.clickhouse.query(f"SELECT {shown} FROM {quoted(table)} {final} ORDER BY ALL")
    return found


@pytest.mark.parametrize("made", [SEGMENTS, pytest.param(MADE, marks=pytest.mark.slow)], ids=["segments", "all"])
def test_restore__clickhouse_is_lost__everything_is_made_again_and_equal(used: Product, made: set[str]) -> None:
    assert used.materialise("raw_identities").success
    _rebuild(used, made)
    before, current, loads = _stored(used), used.current(), used.loads()
    assert {table for table, rows in before.items() if rows} >= made

    for table in used.tables():
        used.clickhouse.execute(f"DROP TABLE IF EXISTS {quoted(table)} SYNC")
    assert used.tables() == set()
    migrate(used.settings)
    _rebuild(used, made)

    assert _stored(used) == before
    assert (used.current(), used.loads()) == (current, loads)
    assert used.snapshot()[(KEY, "bob")] == {"plan": "free", "since": "2024-01-01T10:00:00Z"}
