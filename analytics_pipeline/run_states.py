"""Runs that have not ended: whoever asks for work leaves to them what they are about."""

from collections.abc import Mapping

import dagster as dg

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
