"""A run's process is killed (-9) at the worst moments of each asset; the next run must end as if it had not been."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import date

import pytest

from tests.product import KEY, Product, document, today

# Materialises one asset in a process of its own, which dies before or after it calls the named function.
_DIES = """
import importlib, os, signal, sys
import dagster as dg

asset, day, moment, path = sys.argv[1:]
module, _, name = path.partition(":")
owner = importlib.import_module(module)
*parents, function = name.split(".")
for parent in parents:
    owner = getattr(owner, parent)
original = getattr(owner, function)

def dies(*arguments, **named):
    if moment == "after":
        original(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, function, dies)
from analytics_pipeline.definitions import defs

with dg.DagsterInstance.ephemeral() as instance:
    defs().resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, partition_key=day, asset_selection=[dg.AssetKey(asset)]
    )
"""


@dataclass(frozen=True)
class Death:
    """An asset, and the moment of its death: before or after a function is called."""

    asset: str
    moment: str
    function: str
    is_visible: bool = False

    def __str__(self) -> str:
        return f"{self.asset}-{self.moment}-{self.function.rpartition('.')[2]}"


_LANDING = "analytics_pipeline.resources.landing:UnitWriter"
_CLICKHOUSE = "analytics_pipeline.resources.clickhouse.client:ClickHouse"
_LEDGER = "analytics_pipeline.flows.identities.ledger:IdentityLedger"
DEATHS = [
    Death("raw_identities", "after", f"{_LANDING}.write"),
    Death("raw_identities", "before", f"{_LANDING}.commit"),
    Death("raw_identities", "after", f"{_LANDING}.commit"),
    Death("identity_snapshots", "after", f"{_CLICKHOUSE}.insert_stream"),
    Death("identity_snapshots", "before", f"{_CLICKHOUSE}.attach_partition"),
    Death("identity_snapshots", "after", f"{_CLICKHOUSE}.attach_partition", is_visible=True),
    Death("identity_snapshots", "before", f"{_LEDGER}.complete", is_visible=True),
    Death("segment_counts", "before", f"{_CLICKHOUSE}.attach_partition"),
    Death("segment_counts", "after", f"{_CLICKHOUSE}.attach_partition", is_visible=True),
    Death("segment_counts", "before", "analytics_pipeline.flows.segments.refresh:store_current", is_visible=True),
]


# The moment at which most could go wrong; `make test-all` tries the others as well. What is left of counts that end
# half-way, tests/assets/test_lost_snapshots.py looks at without a process.
_WORST = DEATHS[5]


@pytest.mark.parametrize(
    "death", [pytest.param(d, id=str(d), marks=() if d is _WORST else pytest.mark.slow) for d in DEATHS]
)
def test_run__killed__old_state_is_whole_and_the_next_run_repairs(product: Product, death: Death) -> None:
    product.put(document("alice", plan="pro"), document("bob", plan="pro"))
    assert product.materialise().success
    before = _state(product)
    product.put(document("alice", plan="free"), document("carol", plan="pro"), document("dave", plan="pro"))
    product.remove("bob")
    _bring_up_to(product, death.asset)
    die(death, today())

    seen = _state(product)
    assert product.materialise().success

    # Each part of the state is the old one or, when death came after the swap, the new one; never a mixture.
    after = _state(product)
    assert after == (
        {(KEY, "alice"): {"plan": "free"}, (KEY, "carol"): {"plan": "pro"}, (KEY, "dave"): {"plan": "pro"}},
        {(1, 100): (2, "counted")},
        {(1, 100): (2, "counted")},
    )
    assert all(part in (old, new) for part, old, new in zip(seen, before, after, strict=True))
    if not death.is_visible:
        assert seen[_part(death)] == before[_part(death)]


def _state(product: Product) -> tuple[object, object, object]:
    return (product.snapshot(), product.history(), product.current())


def _part(death: Death) -> int:
    return 1 if death.asset == "segment_counts" else 0


def _bring_up_to(product: Product, asset: str) -> None:
    """Materialise what comes before the asset, so that the process dies in the asset itself."""
    order = ("raw_identities", "identity_snapshots", "segment_counts")
    for earlier in order[: order.index(asset)]:
        assert product.materialise(earlier).success


def die(death: Death, day: date) -> None:
    """Materialise the asset's day in a process that is killed at the moment."""
    command = [sys.executable, "-c", _DIES, death.asset, day.isoformat(), death.moment, death.function]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == -9, result.stderr
