"""Dagster's own history: runs that are over and old go, but for those that its pages are made of.

A sensor that follows live rows replaces the same day some thousand times. The last run of each partition stays, and the
last of each asset without any: without their events Dagster would show those days as never materialised.
"""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg

_BATCH = 200
_MATERIALISED = dg.DagsterEventType.ASSET_MATERIALIZATION
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
# Which code location launched a run: others that share the instance are left alone.
_LOCATION = ".dagster/repository"


def remove_old_runs(instance: dg.DagsterInstance, before: datetime, like: dg.DagsterRun) -> int:
    """Remove the runs of the same code location as `like` that were made before the moment and are over.

    Returns how many went. A run stays that was the last one to materialise a partition or an asset. A run that no
    daemon and no page launched has no location, so nobody could tell whose the others are: then all stay.
    """
    # Dagster stores the tag beside the run, not in it.
    location = like.tags_for_storage().get(_LOCATION)
    if location is None:
        return 0
    filters = dg.RunsFilter(statuses=_OVER, created_before=before, tags={_LOCATION: location})
    old = [run_id for run_id in _ids(instance, filters) if run_id != like.run_id]
    shown = _shown(instance) if old else set()
    gone = [run_id for run_id in old if not shown & _materialisations(instance, run_id)]
    for run_id in gone:
        instance.delete_run(run_id)
    return len(gone)


def _ids(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[str]:
    cursor = None
    while runs := instance.get_runs(filters, cursor=cursor, limit=_BATCH):
        yield from (run.run_id for run in runs)
        cursor = runs[-1].run_id


def _shown(instance: dg.DagsterInstance) -> set[int]:
    """The events that Dagster's pages show: the last of each asset, and of each of its partitions."""
    events = instance.event_log_storage
    last = {
        record.asset_entry.last_materialization_storage_id
        for record in instance.get_asset_records()
        if record.asset_entry.last_materialization_storage_id is not None
    }
    keys = instance.get_asset_keys()
    return last.union(
        *(events.get_latest_storage_id_by_partition(key, _MATERIALISED).values() for key in keys),
    )


def _materialisations(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    found: set[int] = set()
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor, of_type=_MATERIALISED, limit=_BATCH)
        found |= {record.storage_id for record in page.records}
        if not page.has_more:
            return found
        cursor = page.cursor
