"""An organisation is prepared before the feature is switched on for it: its counts are there when it is."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
import time_machine

from tests import resolved
from tests.product import KEY, Product, document, failure_text, today

COUNTED = {(1, 100): (1, "counted")}


@pytest.fixture
def hidden(product: Product) -> Product:
    """A project whose organisation has the feature off, with one identity in its segment."""
    product.set_flag(1, enabled=False)
    product.put(document("alice", plan="pro"), document("bob"))
    return product


def test_before_exposure__named_project__is_captured_loaded_and_counted(hidden: Product) -> None:
    assert hidden.materialise(projects=[10], before_exposure=True).success

    assert set(hidden.snapshot()) == {(KEY, "alice"), (KEY, "bob")}
    assert (hidden.history(), hidden.current()) == (COUNTED, COUNTED)


@pytest.mark.slow
def test_before_exposure__of_one_project__leaves_the_others_alone(hidden: Product) -> None:
    hidden.add_project(11)
    hidden.add_environment(110, project=11, key="second")
    hidden.add_segment(2, [], project=11)

    assert hidden.materialise(projects=[10], before_exposure=True).success

    assert (hidden.history(), hidden.current()) == (COUNTED, COUNTED)


@pytest.mark.parametrize("asset", ["raw_identities", "identity_snapshots", "segment_counts"])
def test_before_exposure__without_projects__is_refused(hidden: Product, asset: str) -> None:
    result = hidden.materialise(asset, before_exposure=True)

    assert not result.success
    assert "`before_exposure` needs `projects`" in failure_text(result)


def test_before_exposure__run_for_all_follows__current_counts_go_and_snapshot_and_history_stay(hidden: Product) -> None:
    hidden.materialise(projects=[10], before_exposure=True)

    assert hidden.materialise().success

    assert set(hidden.snapshot()) == {(KEY, "alice"), (KEY, "bob")}
    assert (hidden.history(), hidden.current()) == (COUNTED, {})


@pytest.mark.slow
def test_before_exposure__switched_on_after_counts_were_removed__schedule_has_them_counted_again(
    hidden: Product,
) -> None:
    yesterday = today() - timedelta(days=1)
    with time_machine.travel(datetime(yesterday.year, yesterday.month, yesterday.day, 12, tzinfo=timezone.utc)):
        hidden.materialise(day=yesterday, projects=[10], before_exposure=True)
    hidden.materialise("segment_counts", day=yesterday)
    assert hidden.current() == {}
    hidden.set_flag(1, enabled=True)

    with dg.instance_for_test() as instance:
        # The grace hours are over: nothing can be captured any more.
        at = datetime(today().year, today().month, today().day, 12, 15, tzinfo=timezone.utc)
        repository = resolved.repository()
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at, repository_def=repository)
        (request,) = repository.get_schedule_def("segments_closed_days").evaluate_tick(context).run_requests or []
    assert (request.partition_key, request.asset_selection) == (str(yesterday), [dg.AssetKey("segment_counts")])
    assert hidden.materialise("segment_counts", day=yesterday).success

    assert hidden.current() == COUNTED
