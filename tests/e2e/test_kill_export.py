"""A run that loads DynamoDB's own export is killed (-9) at its worst moments; the next run repairs it."""

import pytest

from tests.assets.test_identities_export import Exported, exported
from tests.e2e.test_kill import Death, die
from tests.product import KEY, document, today

__all__ = ["exported"]

_LEDGER = "analytics_pipeline.flows.identities.ledger:IdentityLedger"
_CLICKHOUSE = "analytics_pipeline.resources.clickhouse.client:ClickHouse"
_SOURCE = "analytics_pipeline.flows.identities.export.source:ExportSource"
DEATHS = [
    Death("raw_identities", "before", "analytics_pipeline.resources.landing:LandingZone.adopt"),
    Death("identity_snapshots", "after", f"{_SOURCE}.insert_plain"),
    Death("identity_snapshots", "before", f"{_CLICKHOUSE}.attach_partition"),
    Death("identity_snapshots", "before", f"{_LEDGER}.complete", is_visible=True),
]


@pytest.mark.slow  # `make test` kills the same load of a capture by query (test_kill.py)
@pytest.mark.parametrize("death", DEATHS, ids=str)
def test_run__killed_with_an_export__old_state_is_whole_and_the_next_run_repairs(
    exported: Exported, death: Death
) -> None:
    product = exported.product
    product.put(document("alice", plan="pro"), document("bob"))
    assert exported.run() == ""
    before = product.snapshot()
    product.put(document("alice", plan="free"), document("nested", address={"city": "Köln"}))
    product.remove("bob")
    if death.asset == "identity_snapshots":
        assert exported.run("raw_identities") == ""
    die(death, today())
    seen = product.snapshot()

    assert exported.run() == ""

    after = product.snapshot()
    assert after == {(KEY, "alice"): {"plan": "free"}, (KEY, "nested"): {"address": '{"city":"Köln"}'}}
    assert seen == (after if death.is_visible else before)
