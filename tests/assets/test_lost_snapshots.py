"""ClickHouse, or the ledger, is not what the other says: nothing is counted over what was lost, and it comes back."""

from datetime import timedelta
from typing import Any

import pytest

from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.segments import refresh as refresh_module
from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from tests.product import KEY, Product, condition, document, failure_text, today
from tests.thorough import rarely


class Killed(BaseException):
    """The process dies here: no handler of ours takes it for a failure."""


def drop(product: Product, table: str = "identities") -> None:
    """Lose a partition as an operator, or an older backup, does."""
    for partition in product.clickhouse.partitions(table):
        product.clickhouse.execute(f"ALTER TABLE {table} DROP PARTITION ID '{partition}'")


def reasons(product: Product) -> dict[tuple[int, int], str]:
    rows = product.execute(
        "SELECT segment_id, environment_id, reason FROM analytics_pipeline.segment_membership_counts"
    )
    return {(segment, environment): reason for segment, environment, reason in rows}


@pytest.fixture
def two(product: Product) -> Product:
    """Two environments of one project with a pro each, captured, loaded and counted."""
    product.add_environment(101, key="other")
    product.put(document("alice", plan="pro"), document("olga", "other", plan="pro"))
    assert product.materialise().success
    return product


def test_counts__one_environment_is_lost__the_other_is_counted_and_the_run_says_which(two: Product) -> None:
    two.clickhouse.execute("DELETE FROM identities WHERE environment_id = 'other'")
    two.add_segment(2, condition("IS_SET", "plan", None))

    result = two.materialise("segment_counts")

    assert not result.success
    assert "project 10, environment 101: ClickHouse does not hold the snapshot" in failure_text(result)
    assert "environment 100" not in failure_text(result)
    assert two.history() == {(1, 100): (1, "counted"), (1, 101): (1, "counted"), (2, 100): (1, "counted")}
    assert two.current() == {
        (1, 100): (1, "counted"),
        (1, 101): (1, "failed"),
        (2, 100): (1, "counted"),
        (2, 101): (None, "failed"),
    }
    assert reasons(two)[(2, 101)].endswith(f"Materialise identity_snapshots of {today()}, then segment_counts")


@pytest.mark.slow
def test_counts__lost_environment_without_counts_of_before__is_unknown_and_not_zero(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise("raw_identities", "identity_snapshots")
    drop(product)

    assert not product.materialise("segment_counts").success

    assert (product.history(), product.current()) == ({(1, 100): (None, "failed")},) * 2


@pytest.mark.slow
def test_counts__segment_deleted_while_a_snapshot_is_lost__its_counts_go_all_the_same(two: Product) -> None:
    two.add_segment(2, condition("IS_SET", "plan", None))
    two.materialise("segment_counts")
    drop(two)
    two.execute("UPDATE segments SET deleted_at = now() WHERE id = 2")

    two.materialise("segment_counts")

    assert two.history() == {(1, 100): (1, "counted"), (1, 101): (1, "counted")}
    assert two.current() == {(1, 100): (1, "failed"), (1, 101): (1, "failed")}


@pytest.mark.slow
def test_counts__older_snapshot_with_as_many_rows_is_put_back__is_not_counted(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.clickhouse.execute("CREATE TABLE backup AS identities")
    product.clickhouse.execute("INSERT INTO backup SELECT * FROM identities FINAL")
    product.put(document("alice", plan="free"))
    product.materialise()
    product.clickhouse.execute("TRUNCATE TABLE identities")
    product.clickhouse.execute("INSERT INTO identities SELECT * FROM backup")

    assert not product.materialise("segment_counts").success
    assert (product.history(), product.current()) == ({(1, 100): (0, "counted")}, {(1, 100): (0, "failed")})

    assert product.materialise("identity_snapshots", "segment_counts").success
    assert (product.history(), product.current()) == ({(1, 100): (0, "counted")},) * 2


def test_counts__postgres_goes_back_to_before_the_last_load__nothing_is_counted_until_it_is_loaded_again(
    product: Product,
) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    before = product.execute("SELECT captured_at, rows FROM analytics_pipeline.identity_loads")[0]
    product.put(document("bob", plan="pro"))
    product.materialise()
    product.execute("UPDATE analytics_pipeline.identity_loads SET captured_at = %s, rows = %s", *before)

    assert not product.materialise("segment_counts").success
    assert product.current() == {(1, 100): (2, "failed")}

    assert product.materialise("identity_snapshots", "segment_counts").success
    assert product.current() == product.history() == {(1, 100): (2, "counted")}


def test_counts__partition_is_dropped_while_it_is_counted__no_zero_is_stored(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()

    def drops_first(*arguments: Any) -> Any:
        drop(product)
        return count_segments(*arguments)

    monkeypatch.setattr(refresh_module, "count_segments", drops_first)
    monkeypatch.setattr("dagster.RetryPolicy.calculate_delay", lambda *_: 0)
    assert not product.materialise("segment_counts").success

    assert product.history() == {(1, 100): (1, "counted")}


def killed_run(product: Product, owner: type, method: str, *assets: str) -> None:
    """Materialise in a process that dies when it comes to the method."""

    def dies(*_: Any, **__: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, dies)
        result = product.materialise(*assets)
    assert "Killed" in failure_text(result)


def test_load__killed_between_swap_and_ledger__nobody_vouches_until_it_is_loaded_again(
    product: Product,
) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.put(document("alice", plan="free"))
    product.materialise("raw_identities")
    killed_run(product, IdentityLedger, "complete", "identity_snapshots")
    assert product.snapshot() == {(KEY, "alice"): {"plan": "free"}}
    assert product.loads() == {KEY: ("running", 1)}

    assert not product.materialise("segment_counts").success
    assert product.current() == {(1, 100): (1, "failed")}

    assert product.materialise("identity_snapshots", "segment_counts").success
    assert (product.loads(), product.current()) == ({KEY: ("completed", 1)}, {(1, 100): (0, "counted")})


@pytest.mark.parametrize("place", [(IdentityLedger, "forget_gone"), *rarely(((ClickHouse, "attach_partition"),))])
def test_environment_gone__killed_around_the_removal__next_run_leaves_neither_rows_nor_ledger(
    two: Product, place: tuple[type, str]
) -> None:
    two.execute("DELETE FROM environments WHERE id = 101")
    killed_run(two, *place, "identity_snapshots")

    assert two.materialise("identity_snapshots").success

    assert (set(two.snapshot()), two.loads()) == ({(KEY, "alice")}, {KEY: ("completed", 1)})


def status(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT status FROM analytics_pipeline.segment_refreshes")


def test_counts__killed_between_history_and_current_counts__the_ledger_does_not_vouch_and_both_come_right(
    product: Product,
) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.put(document("bob", plan="pro"))
    product.materialise("raw_identities", "identity_snapshots")
    killed_run(product, RefreshLedger, "complete", "segment_counts")

    assert status(product) == [("running",)]
    assert (product.history(), product.current()) == ({(1, 100): (2, "counted")}, {(1, 100): (1, "counted")})

    assert product.materialise("segment_counts").success
    assert (product.history(), product.current(), status(product)) == (
        {(1, 100): (2, "counted")},
        {(1, 100): (2, "counted")},
        [("completed",)],
    )


@pytest.mark.slow
def test_counts__last_segment_of_a_project_deleted_on_an_open_day__nothing_of_it_is_left(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.execute("UPDATE segments SET deleted_at = now()")

    assert product.materialise("segment_counts").success

    latest = product.clickhouse.query("SELECT segment_id FROM segment_counts_latest")
    assert (product.history(), product.current(), latest, status(product)) == ({}, {}, [], [])


@pytest.mark.slow
def test_counts__last_segment_deleted_and_run_narrowed_to_the_project__nothing_of_it_is_left(product: Product) -> None:
    product.add_project(11)
    product.add_environment(110, project=11, key="other")
    product.add_segment(2, [], project=11)
    product.materialise()
    product.execute("UPDATE segments SET deleted_at = now()")

    assert product.materialise("segment_counts", projects=[10]).success

    assert set(product.history()) == set(product.current()) == {(2, 110)}


@pytest.mark.slow
def test_counts__project_gone_on_an_open_day__nothing_of_it_is_left(product: Product) -> None:
    product.add_project(11)
    product.add_environment(110, project=11, key="other")
    product.add_segment(2, [], project=11)
    product.materialise()
    for relation, column in (("segments", "project_id"), ("environments", "project_id"), ("projects", "id")):
        product.execute(f"DELETE FROM {relation} WHERE {column} = 11")

    assert product.materialise("identity_snapshots", "segment_counts").success

    assert set(product.history()) == set(product.current()) == {(1, 100)}
    assert set(product.loads()) == {KEY}


@pytest.mark.slow
@pytest.mark.parametrize("place", [(RefreshLedger, "forget"), *rarely(((ClickHouse, "attach_partition"),))])
def test_counts__killed_while_those_of_a_gone_project_are_removed__next_run_removes_them(
    product: Product, place: tuple[type, str]
) -> None:
    product.materialise()
    product.execute("UPDATE segments SET deleted_at = now()")
    killed_run(product, *place, "segment_counts")

    assert product.materialise("segment_counts").success

    assert (product.history(), product.current(), status(product)) == ({}, {}, [])


@pytest.mark.slow
def test_counts__last_segment_deleted_after_the_day_closed__that_day_keeps_its_counts(product: Product) -> None:
    day = today() - timedelta(days=3)
    product.put(document("alice", plan="pro"))
    product.materialise()
    for table, column in (("identities", "snapshot_date"), ("segment_counts", "date")):
        product.clickhouse.execute(
            f"INSERT INTO {table} SELECT * REPLACE ({{day:Date}} AS {column}) FROM {table}", day=day
        )
    product.execute("UPDATE segments SET deleted_at = now()")

    assert product.materialise("segment_counts", day=day).success

    assert product.history(day) == {(1, 100): (1, "counted")}


@pytest.mark.slow
def test_counts__feature_switched_off_on_an_open_day__the_day_keeps_its_counts(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.set_flag(1, enabled=False)

    assert product.materialise("identity_snapshots", "segment_counts").success

    assert (product.history(), product.current()) == ({(1, 100): (1, "counted")}, {})
    assert set(product.snapshot()) == {(KEY, "alice")}


def test_snapshots__environment_gone_and_run_narrowed_to_its_project__its_rows_go(two: Product) -> None:
    two.execute("DELETE FROM environments WHERE id = 101")

    assert two.materialise("identity_snapshots", projects=[10]).success

    assert (set(two.snapshot()), set(two.loads())) == ({(KEY, "alice")}, {KEY})


def test_snapshots__capture_is_not_kept_but_all_is_loaded__is_left_alone(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    for file in product.landing.stored(f"identities/day={today()}"):
        product.landing.store.delete(f"identities/day={today()}/{file.name}")

    assert product.materialise("identity_snapshots").success

    assert product.loads() == {KEY: ("completed", 1)}
