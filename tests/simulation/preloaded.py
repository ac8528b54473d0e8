"""The definitions, resolved when the fork server imports this module, so that its children need not."""

from functools import cache
from typing import Any

import dagster as dg
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage

# A run that fails for a trouble that passes is tried again at once: nobody wants to wait here.
dg.RetryPolicy.calculate_delay = lambda self, attempt_num: 0  # type: ignore[method-assign]
# Whether the schema of the instance is that of this version is looked up in a hundred files, each time.
sqlite_run_storage.check_alembic_revision = lambda *_: ("same", "same")  # type: ignore[attr-defined]
sqlite_schedule_storage.check_alembic_revision = lambda *_: ("same", "same")  # type: ignore[attr-defined]

from analytics_pipeline.definitions import defs  # noqa: E402

TARGETS = {
    "ai_usage_closed_days": ("duo_chat_events", "code_suggestion_events", "ai_usage_daily"),
    "segment_changes": ("segment_counts",),
}


@cache
def repository() -> Any:
    return defs().get_repository_def()


@cache
def job() -> dg.JobDefinition:
    """All assets, with those checks alone that stop what comes after them: the auditor is the better check."""
    all_ = defs()
    blocking = [
        check
        for check in all_.asset_checks or ()
        if isinstance(check, dg.AssetChecksDefinition) and any(spec.blocking for spec in check.check_specs)
    ]
    some = dg.Definitions(assets=all_.assets, asset_checks=blocking, resources=all_.resources, executor=all_.executor)
    return some.resolve_implicit_global_asset_job_def()


repository()
job()
