"""The state of earlier runs, for sensors and schedules: has one ended, did it bring anything, may another follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import takewhile

import dagster as dg

# The tags of a run about the past. It leaves the queue after a run that keeps today's figures fresh, and dagster.yaml
# lets one run with these tags work at a time.
ABOUT_THE_PAST = {"dagster/priority": "-1"}


@dataclass(frozen=True)
class Pauses:
    """Pauses between runs that bring nothing: so many in a row have none, then the `first` doubles, to a bound."""

    without: int
    first: timedelta
    doublings: int

    def after(self, vain: int) -> timedelta:
        """The pause after so many runs in a row that brought nothing."""
        return timedelta(0) if vain <= self.without else self.first * (1 << (vain - self.without - 1))

    @property
    def remembered(self) -> int:
        """How many runs have to be looked at."""
        return self.without + 1 + self.doublings


# Of a sensor: half a minute to sixteen minutes.
SHORT_PAUSES = Pauses(without=1, first=timedelta(seconds=30), doublings=5)
# Of an hourly schedule: two hours to a day and a third, so that a capture whose bytes are wrong, which nobody but an
# operator can mend, is a dozen failures in the week that it is asked for.
LONG_PAUSES = Pauses(without=3, first=timedelta(hours=2), doublings=4)

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


def may_be_asked_again(
    instance: dg.DagsterInstance, tags: Mapping[str, str], now: datetime, pauses: Pauses = SHORT_PAUSES
) -> bool:
    """Whether another run with all of these tags may follow the runs that have ended; `now` is aware.

    It may follow at once, even a run that failed or was skipped. After several in a row that brought nothing it has to
    wait for a pause to end.
    """
    records = instance.get_run_records(dg.RunsFilter(tags=dict(tags)), limit=pauses.remembered)
    vain = list(takewhile(lambda record: not _brought_anything(instance, record.dagster_run), records))
    pause = pauses.after(len(vain))
    if not pause:
        return True
    ended_at = datetime.fromtimestamp(vain[0].end_time or vain[0].update_timestamp.timestamp(), timezone.utc)
    return now >= ended_at + pause


def _brought_anything(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run materialised anything. A run that skips all of its days succeeds and materialises nothing."""
    if run.status is not dg.DagsterRunStatus.SUCCESS:
        return False
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    return bool(instance.get_records_for_run(run.run_id, of_type=kind, limit=1).records)
