"""What libraries ask for anew for each object and what never changes in a session is asked for once.

Only answers that no test is about. Half of what a small materialisation cost went into them.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from botocore.loaders import JSONFileLoader
from clickhouse_connect.driver.httpclient import HttpClient
from dagster import AssetKey, DagsterInstance, JobDefinition
from dagster._core.storage.event_log import in_memory as event_log
from dagster._core.storage.runs import in_memory as runs
from fastapi.routing import APIRoute, _EffectiveRouteContext
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import QueuePool

from analytics_pipeline.flows import guards
from analytics_pipeline.orchestration import metadata
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from tests import recorded

_DAGSTER = "dagster:"
_SETTINGS = "FROM system.settings"
# Whether nothing between client and server leaves out the version of their protocol.
_PROBE = "SELECT 1 AS check"


def pytest_configure() -> None:
    """An optional part of jsonschema, which mcp imports: it makes 39 grammars of addresses, in three seconds."""
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # as for something that is not installed


@pytest.fixture(scope="session", autouse=True)
def dagster_migrations() -> Iterator[None]:
    """Dagster's own migrations, 90 files: each storage of each instance on a disk reads them, for 60 ms."""
    read = ScriptDirectory.from_config
    kept = cache(lambda location: read(_configuration(location)))

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location") or ""
        return kept(location) if location.startswith(_DAGSTER) else read(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session", autouse=True)
def records_of_runs() -> Iterator[None]:
    """What nobody reads of a run is not recorded, nor which of Dagster's migrations an instance in memory has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DagsterInstance, "should_store_event", recorded.is_read)
        patch.setattr(DagsterInstance, "create_run_for_job", recorded.run_of)
        for storage in (event_log, runs):
            patch.setattr(storage, "stamp_alembic_rev", lambda *_: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def jobs_of_selections() -> Iterator[None]:
    """The job of some assets of a job, which Dagster describes to the last type before each run of it in a process."""
    make = JobDefinition.as_ephemeral_job
    kept: dict[tuple[JobDefinition, frozenset[AssetKey]], JobDefinition] = {}

    def made_once(job: JobDefinition, resource_defs: Any, input_values: Any, **selections: Any) -> JobDefinition:
        assets = selections.get("asset_selection")
        if resource_defs or input_values or selections.get("op_selection") or not assets:
            return make(job, resource_defs, input_values, **selections)
        asked = (job, frozenset(assets))
        if asked not in kept:
            kept[asked] = make(job, resource_defs, input_values, **selections)
        return kept[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobDefinition, "as_ephemeral_job", made_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def connections_of_instances() -> Iterator[None]:
    """Connections of a Dagster instance in memory: a run asks it 130 times, each time on a new one."""

    def kept(url: str, **_: Any) -> Engine:
        # One that a thread gives back serves another one, one at a time.
        return create_engine(url, poolclass=QueuePool, connect_args={"check_same_thread": False})

    with pytest.MonkeyPatch.context() as patch:
        for storage in (event_log, runs):
            patch.setattr(storage, "create_engine", kept)
        yield


@pytest.fixture(scope="session", autouse=True)
def routes_of_applications() -> Iterator[None]:
    """What FastAPI finds out about each route when an application has its first request, in half a second."""
    find_out = _EffectiveRouteContext.from_api_route
    kept: dict[tuple[int, str], Any] = {}

    def found(*, original_route: APIRoute, include_context: Any) -> Any:
        # It holds the route, whose number therefore stays its own.
        known = (id(original_route), include_context.prefix)
        if known not in kept:
            kept[known] = find_out(original_route=original_route, include_context=include_context)
        return kept[known]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_EffectiveRouteContext, "from_api_route", found)
        yield


def _configuration(location: str) -> Config:
    config = Config()
    config.set_main_option("script_location", location)
    return config


@pytest.fixture(scope="session", autouse=True)
def aws_models() -> Iterator[None]:
    """What boto3 knows of each service: clients of one session share it, and each capture has a session of its own."""
    read = JSONFileLoader.load_file
    kept = cache(lambda path: read(JSONFileLoader(), path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _loader, path: kept(path))
        yield


@pytest.fixture(scope="session", autouse=True)
def clickhouse_settings() -> Iterator[None]:
    """The 1500 settings of a ClickHouse server and its protocol, which each new client asks for.

    What it asks first, the server's version, it still does.
    """
    execute: Callable[[HttpClient, Any], Any] = HttpClient._execute_operation
    kept: dict[tuple[str, str, str, str | None], Any] = {}

    def execute_once(client: HttpClient, operation: Any) -> Any:
        text = getattr(operation, "text", "")
        if _SETTINGS not in text and text != _PROBE:
            return execute(client, operation)
        # The settings are the first statement that goes to the database, so it finds out that there is none.
        asked = (text, client.url, str(client.headers.get("Authorization")), client.database)
        if asked not in kept:
            kept[asked] = execute(client, operation)
        return kept[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpClient, "_execute_operation", execute_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def room_of_tables() -> Iterator[Callable[..., Any]]:
    """The room that a table has left, for which every writer asks before each piece; an answer costs ClickHouse 20 ms.

    Yields what asks anew.
    """
    asked = guards.headroom
    kept: dict[tuple[str, ...], list[guards.Headroom]] = {}

    def asked_once(clickhouse: ClickHouse, *tables: str) -> list[guards.Headroom] | None:
        known = (str(clickhouse.client.url), *tables)  # type: ignore[attr-defined]  # of the client over HTTP
        if not kept.get(known):
            kept[known] = asked(clickhouse, *tables) or []
        return kept[known]

    with pytest.MonkeyPatch.context() as patch:
        for module in (guards, metadata):
            patch.setattr(module, "headroom", asked_once)
        yield asked


@pytest.fixture
def room_of_now(room_of_tables: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what looks at it."""
    for module in (guards, metadata):
        monkeypatch.setattr(module, "headroom", room_of_tables)
