"""When a run may be asked for again."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from analytics_pipeline.orchestration.run_states import LONG_PAUSES, may_be_asked_again

TAGS = {"analytics_pipeline/follows": "it"}


@dg.asset
def it() -> None:
    """What is asked for."""


@dg.op
def skip() -> None:
    """A run of it succeeds and materialises nothing."""


@dg.job
def skipping() -> None:
    """What a run does whose store is not configured."""
    skip()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def fail(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(skipping, status=dg.DagsterRunStatus.STARTED, tags=TAGS)
    instance.report_run_failed(run)


def pause(instance: dg.DagsterInstance) -> timedelta | None:
    """The shortest of some pauses after which a run may be asked for; None: after none of them."""
    now = datetime.now(timezone.utc)
    looked = [timedelta(seconds=seconds) for seconds in (0, 30, 60, 120, 240, 480, 960, 1920)]
    return next((after for after in looked if may_be_asked_again(instance, TAGS, now + after)), None)


def test_pause__after_failures_in_a_row__is_none_at_first_then_doubles_to_a_bound(instance: dg.DagsterInstance) -> None:
    pauses = [pause(instance)]
    for _ in range(9):
        fail(instance)
        pauses.append(pause(instance))

    assert pauses == [timedelta(seconds=seconds) for seconds in (0, 0, 30, 60, 120, 240, 480, 960, 960, 960)]


def test_pause__after_runs_that_did_nothing__is_that_of_failures(instance: dg.DagsterInstance) -> None:
    for _ in range(3):
        assert skipping.execute_in_process(instance=instance, tags=TAGS).success

    assert pause(instance) == timedelta(seconds=60)


def test_pause__after_a_run_that_brought_something__is_none(instance: dg.DagsterInstance) -> None:
    for _ in range(3):
        fail(instance)
    assert dg.materialize([it], instance=instance, tags=TAGS).success

    assert pause(instance) == timedelta(0)


def test_pauses__of_a_schedule__bound_a_week_to_a_dozen_runs() -> None:
    moment, vain, asked = timedelta(0), 0, 0
    while moment <= timedelta(days=7):
        asked, vain = asked + 1, min(vain + 1, LONG_PAUSES.remembered)
        moment += max(LONG_PAUSES.after(vain), timedelta(hours=1))

    assert (asked, LONG_PAUSES.after(LONG_PAUSES.remembered)) == (12, timedelta(hours=32))
