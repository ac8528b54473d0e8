"""Whatever happens to a product and in which order its assets run, the next whole run ends as a fresh build would."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.product import KEY, Product, condition, document

Step = Callable[[Product], object]
KEYS = (KEY, "second")
PLANS = ("pro", "free", "ünlimited'")

_people = st.sampled_from(["alice", "bob", "carol"])
_keys = st.sampled_from(KEYS)
_rules = st.sampled_from(
    [
        condition("EQUAL", "plan", "pro"),
        condition("REGEX", "plan", "(?=pro)"),
        condition("NOT_EQUAL", "plan", "pro"),
        condition("REGEX", "plan", "("),
        condition("PERCENTAGE_SPLIT", "", 50),
        [],
    ]
)


def _put(name: str, key: str, plan: str) -> Step:
    return lambda product: product.put(document(name, key, plan=plan))


def _remove(name: str, key: str) -> Step:
    return lambda product: product.remove(name, key)


def _segment(number: int, rules: Any) -> Step:
    return lambda product: product.execute(
        "INSERT INTO segments (id, project_id, name, rules) VALUES (%s, 10, 'x', %s)"
        " ON CONFLICT (id) DO UPDATE SET rules = excluded.rules, deleted_at = NULL, updated_at = now()",
        number,
        Jsonb(rules),
    )


def _delete_segment(number: int) -> Step:
    return lambda product: product.execute("UPDATE segments SET deleted_at = now() WHERE id = %s", number)


def _add_environment(product: Product) -> None:
    product.execute("INSERT INTO environments VALUES (101, 10, 'second', 'Second') ON CONFLICT DO NOTHING")


def _delete_environment(product: Product) -> None:
    product.execute("DELETE FROM environments WHERE id = 101")


def _run(*assets: str, **config: Any) -> Step:
    return lambda product: product.materialise(*assets, **config)


_steps = st.one_of(
    st.builds(_put, _people, _keys, st.sampled_from(PLANS)),
    st.builds(_remove, _people, _keys),
    st.builds(_segment, st.integers(1, 3), _rules),
    st.builds(_delete_segment, st.integers(2, 3)),
    st.sampled_from([_add_environment, _delete_environment]),
    st.sampled_from(
        [
            _run("raw_identities"),
            _run("identity_snapshots"),
            _run("identity_snapshots", reload=True),
            _run("segment_counts"),
            _run("segment_counts", projects=[10]),
            _run(),
        ]
    ),
)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(_steps, min_size=3, max_size=10))
def test_any_order_of_changes_and_runs__next_whole_run__ends_as_a_fresh_build(
    product: Product, steps: list[Step]
) -> None:
    _forget_source(product)
    _forget_everything(product)
    for step in steps:
        step(product)  # a run may fail, e.g. a load of what was never captured

    assert product.materialise().success

    converged = _state(product)
    _forget_everything(product)
    assert product.materialise().success
    assert converged == _state(product)


def _state(product: Product) -> tuple[Any, ...]:
    ledger = product.execute("SELECT project_id, status FROM analytics_pipeline.segment_refreshes")
    return (product.snapshot(), product.history(), product.current(), product.loads(), ledger)


def _forget_source(product: Product) -> None:
    for key in KEYS:
        for name in ("alice", "bob", "carol"):
            product.remove(name, key)
    _delete_environment(product)
    product.execute("DELETE FROM segments WHERE id > 1")
    _segment(1, condition("EQUAL", "plan", "pro"))(product)


def _forget_everything(product: Product) -> None:
    """All that the pipeline keeps; the source stays."""
    for table in ("identities", "segment_counts"):
        product.clickhouse.execute(f"TRUNCATE TABLE {table}")
    for table in ("identity_loads", "segment_refreshes", "segment_membership_counts", "dead_letters"):
        product.execute(f"DELETE FROM analytics_pipeline.{table}")
    assert product.settings.landing_url is not None
    shutil.rmtree(Path(urlsplit(product.settings.landing_url).path) / "identities", ignore_errors=True)
