"""What is kept for so many days goes under a real daemon, also when that was away at the hour of the schedule."""

import os
import time
from datetime import timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.scheduler.instigation import InstigatorState, ScheduleInstigatorData

from tests.e2e.conftest import Operator
from tests.e2e.dagster_server import wait_for
from tests.product import Product, today
from tests.schedules.test_retention import add_letter, add_refresh, kept

DAY = today() - timedelta(days=60)
PATIENCE = 150


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_retention__daemon_was_away_at_its_hour__removes_what_is_old_and_keeps_the_last_of_each_day(
    empty_product: Product, operator: Operator
) -> None:
    server = operator.start()
    first, second, other = (
        server.materialise(["reporting_events"], tags={"dagster/partition": day.isoformat()})
        for day in (DAY, DAY, DAY - timedelta(days=1))
    )
    ended = {run: server.wait_for_run(run) for run in (first, second, other)}
    _, last = sorted((first, second), key=end_of)
    operator.stop()
    with dagster_database() as connection:
        aged = "UPDATE runs SET create_timestamp = create_timestamp - interval '91 days' WHERE run_id = ANY(%s)"
        connection.execute(aged, [[*ended]])
    for key, days in (("old", 91), ("young", 89)):
        add_letter(empty_product, key, days)
    for project, days in ((1, 402), (1, 401), (2, 399)):
        add_refresh(empty_product, project, today() - timedelta(days=days))
    watched_since_yesterday("daily_retention")

    operator.start()
    wait_for(retentions, lambda seen: seen == ["SUCCESS"], PATIENCE)

    assert [*ended.values()] == ["SUCCESS"] * 3
    with dg.DagsterInstance.get() as instance:
        assert {run for run in ended if instance.has_run(run)} == {last, other}
        assert instance.get_materialized_partitions(dg.AssetKey("reporting_events")) >= {
            DAY.isoformat(),
            (DAY - timedelta(days=1)).isoformat(),
        }
    with dagster_database() as connection:
        left = connection.execute("SELECT DISTINCT run_id FROM event_logs WHERE run_id = ANY(%s)", [[*ended]])
        assert {run for (run,) in left.fetchall()} == {last, other}
    assert kept(empty_product, "dead_letters", "record_key") == ["young"]
    assert kept(empty_product, "segment_refreshes", "snapshot_date") == [
        today() - timedelta(days=days) for days in (401, 399)
    ]


def dagster_database() -> psycopg.Connection:
    return psycopg.connect(os.environ["DAGSTER_POSTGRES_URL"], autocommit=True)


def end_of(run_id: str) -> float:
    with dg.DagsterInstance.get() as instance:
        record = instance.get_run_record_by_id(run_id)
    assert record is not None
    assert record.end_time is not None
    return record.end_time


def watched_since_yesterday(schedule: str) -> None:
    """As if the daemon had begun to watch the schedule a day ago, and had been away since."""
    with dg.DagsterInstance.get() as instance:
        state: InstigatorState
        (state,) = (one for one in instance.all_instigator_state() if one.instigator_name == schedule)
        assert isinstance(state.instigator_data, ScheduleInstigatorData)
        data = ScheduleInstigatorData(state.instigator_data.cron_schedule, time.time() - 25 * 3600)
        instance.update_instigator_state(state.with_data(data))


def retentions() -> list[str]:
    with dg.DagsterInstance.get() as instance:
        return [run.status.value for run in instance.get_runs(dg.RunsFilter(job_name="retention"))]
