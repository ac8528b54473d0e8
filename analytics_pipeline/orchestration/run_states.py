"""The state of earlier runs, for sensors and schedules: has one ended, did it bring anything, may another follow."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from itertools import takewhile

import dagster as dg

# The tags of a run about the past. It leaves the queue after a run that keeps today's figures fresh, and dagster.yaml
# lets one run with these tags work at a time.
ABOUT_THE_PAST = {"dagster/priority": "-1"}

# A second run in a row that brings nothing is followed by this pause. It doubles up to sixteen minutes after the
# seventh.
_FIRST_PAUSE = timedelta(seconds=30)
_REMEMBERED = 7

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def runs_under_way(instance: dg.DagsterInstance, tags: Mapping[str, str] | None = None) -> bool:
    """Whether a run with all of these tags waits or works."""
    return instance.get_runs_count(dg.RunsFilter(tags=dict(tags or {}), statuses=_UNDER_WAY)) > 0


def may_be_asked_again(instance: dg.DagsterInstance, tags: Mapping[str, str], now: datetime) -> bool:
    """Whether another run with all of these tags may follow the runs that have ended; `now` is aware.

    It may follow at once, even a run that failed or was skipped. After several in a row that brought nothing it has to
    wait for a pause to end.
    """
    records = instance.get_run_records(dg.RunsFilter(tags=dict(tags)), limit=_REMEMBERED)
    vain = list(takewhile(lambda record: not _brought_anything(instance, record.dagster_run), records))
    if len(vain) < 2:
        return True
    ended_at = datetime.fromtimestamp(vain[0].end_time or vain[0].update_timestamp.timestamp(), timezone.utc)
    return now >= ended_at + _FIRST_PAUSE * (1 << (len(vain) - 2))


def _brought_anything(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run materialised anything. A run that skips all of its days succeeds and materialises nothing."""
    if run.status is not dg.DagsterRunStatus.SUCCESS:
        return False
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    return bool(instance.get_records_for_run(run.run_id, of_type=kind, limit=1).records)
