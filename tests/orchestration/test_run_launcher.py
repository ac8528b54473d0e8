"""Whether a run is still there is asked of the code server that it was given to.

That a run under way is left alone, and one whose server was killed is failed, is seen by `make test-image`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.utils import make_new_run_id
from dagster._grpc.client import DagsterGrpcClient

from analytics_pipeline.orchestration.run_launcher import ServerRunLauncher
from tests.e2e.dagster_server import wait_for
from tests.image.containers import free_port

LAUNCHER = {"module": ServerRunLauncher.__module__, "class": ServerRunLauncher.__name__}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    overrides = {"run_launcher": LAUNCHER, "telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as made:
        yield made


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a code server that has no run."""
    definitions = tmp_path / "definitions.py"
    definitions.write_text("import dagster as dg\ndefs = dg.Definitions()\n")
    chosen = free_port()
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--port", str(chosen), "--python-file", str(definitions)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            client = DagsterGrpcClient(port=chosen, host="localhost")
            wait_for(lambda: _answers(client), bool, 60, pause=0.2)
            yield chosen
        finally:
            server.terminate()


def _answers(client: DagsterGrpcClient) -> bool:
    return bool(client.health_check_query() == "SERVING")  # type: ignore[no-untyped-call]


def _health(instance: dg.DagsterInstance, address: dict[str, Any] | None) -> tuple[WorkerStatus, str | None]:
    tags = {GRPC_INFO_TAG: json.dumps(address)} if address else {}
    run = dg.DagsterRun("job", run_id=make_new_run_id(), tags=tags, status=dg.DagsterRunStatus.STARTED)
    instance.run_storage.add_run(run)
    found = instance.run_launcher.check_run_worker_health(run)
    return found.status, found.msg


def test_check_run_worker_health__server_was_started_again__the_run_is_lost(
    instance: dg.DagsterInstance, port: int
) -> None:
    assert instance.run_launcher.supports_check_run_worker_health
    assert _health(instance, {"host": "localhost", "port": port}) == (
        WorkerStatus.NOT_FOUND,
        "the code server was started again and has no such run",
    )


@pytest.mark.parametrize(
    ("address", "told"),
    [({"host": "localhost", "port": 1}, "the code server does not answer"), (None, None)],
    ids=["server does not answer", "run of a shell"],
)
def test_check_run_worker_health__nobody_to_ask__nothing_is_concluded(
    instance: dg.DagsterInstance, address: dict[str, Any] | None, told: str | None
) -> None:
    assert _health(instance, address) == (WorkerStatus.RUNNING, told)
