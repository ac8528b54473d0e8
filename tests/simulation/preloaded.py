"""The definitions, resolved when the fork server imports this module, so that its children need not."""

import gc
import sqlite3
from functools import cache
from typing import Any

import boto3
import dagster as dg
from botocore.loaders import JSONFileLoader
from dagster._core.storage.event_log.sqlite import consolidated_sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine

from tests import recorded

# A run that fails for a trouble that passes is tried again at once: nobody wants to wait here.
dg.RetryPolicy.calculate_delay = lambda self, attempt_num: 0  # type: ignore[method-assign]
# Whether the schema of the instance is that of this version is looked up in a hundred files, each time.
sqlite_run_storage.check_alembic_revision = lambda *_: ("same", "same")  # type: ignore[attr-defined]
sqlite_schedule_storage.check_alembic_revision = lambda *_: ("same", "same")  # type: ignore[attr-defined]
# What AWS's services can do is read from megabytes of JSON for each client. Nobody changes what was read.
JSONFileLoader.load_file = staticmethod(cache(JSONFileLoader().load_file))  # type: ignore[method-assign]
boto3.session.Session(region_name="eu-west-1").client("dynamodb", endpoint_url="http://127.0.0.1:1")


_kept = cache(create_engine)
# Dagster's storage makes an engine for each of its calls. One that keeps its connection does the same.
for module in (sqlite_run_storage, sqlite_schedule_storage, consolidated_sqlite_event_log):
    module.create_engine = lambda url, **_: _kept(url)  # type: ignore[attr-defined]
dg.DagsterInstance.should_store_event = recorded.is_read  # type: ignore[assignment,method-assign]
dg.DagsterInstance.create_run_for_job = recorded.run_of  # type: ignore[assignment,method-assign]


def _without_syncing(connection: Any, _: object) -> None:
    """A process that dies loses nothing of SQLite, only a machine would; each event of a run is a transaction."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


event.listen(Engine, "connect", _without_syncing)

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
# Children share these objects; a collector that looked at them would copy them all.
gc.collect()
gc.freeze()
