"""Runs beside each other: which have not ended, so that their work is left to them, and which are to go first."""

from collections.abc import Mapping

import dagster as dg

# The tags of a run about the past: one that keeps today's figures fresh leaves the queue before it, and dagster.yaml
# lets only one of them work at a time.
ABOUT_THE_PAST = {"dagster/priority": "-1"}

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
