"""A real webserver, daemon and code server for a test, driven through GraphQL as the UI drives them."""

import json
import re
import secrets
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil

from analytics_pipeline.embedded import dagster_ui

T = TypeVar("T")
_SELECTOR = {"repositoryLocationName": "analytics_pipeline", "repositoryName": "__repository__"}
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class DagsterServer:
    """What the UI talks to."""

    port: int
    session: dagster_ui.Session

    def materialise(self, assets: Sequence[str], *, tags: Mapping[str, str]) -> str:
        """Launch a run as the UI's button does; returns its id."""
        parameters = {
            "selector": {**_SELECTOR, "pipelineName": "__ASSET_JOB", "assetSelection": [{"path": [a]} for a in assets]},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._query(_LAUNCH_RUN, parameters=parameters)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill as the UI's dialog does; returns its id."""
        parameters = {
            "assetSelection": [{"path": [asset]} for asset in assets],
            "partitionNames": list(partitions),
        }
        answer = self._query(_LAUNCH_BACKFILL, parameters=parameters)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        backfill_id: str = answer["backfillId"]
        return backfill_id

    def run_status(self, run_id: str) -> str:
        status: str = self._query(_RUN_STATUS, id=run_id)["runOrError"]["status"]
        return status

    def backfill_status(self, backfill_id: str) -> tuple[str, int]:
        """The backfill's status and how many runs it took."""
        answer = self._query(_BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]
        return answer["status"], len(answer["runs"])

    def wait_for_run(self, run_id: str, seconds: float = 90) -> str:
        return wait_for(lambda: self.run_status(run_id), lambda status: status in _ENDED, seconds)

    def worker_of(self, run_id: str) -> psutil.Process:
        """The process that executes the run, as its log tells."""

        def pid() -> int | None:
            with dg.DagsterInstance.get() as instance:
                messages = [entry.user_message for entry in instance.all_logs(run_id)]
            found = [re.search(r"Executing steps in process \(pid: (\d+)\)", message) for message in messages]
            return next((int(match.group(1)) for match in found if match), None)

        return psutil.Process(wait_for(pid, bool, 60, pause=0.05))

    def _query(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data


def wait_for(look: Callable[[], T], is_there: Callable[[T], bool], seconds: float, pause: float = 0.5) -> T:
    """Look until it is there, every `pause` seconds; returns what was seen."""
    deadline = time.monotonic() + seconds
    while not is_there(seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(pause)
    return seen


@contextmanager
def dagster_server(environment: Mapping[str, str], log: Path) -> Iterator[DagsterServer]:
    """Start Dagster on the environment's instance and stop it to the last process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    session = dagster_ui.Session(secrets.token_hex(16), f"http://127.0.0.1:{port}", ())
    child = dagster_ui.start(session, environment, port, log)
    try:
        wait_for(lambda: dagster_ui.loaded_locations(port), lambda found: found is not None, 120)
        yield DagsterServer(port, session)
    finally:
        dagster_ui.stop(session, child)


_LAUNCH_RUN = """mutation($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } ... on InvalidSubsetError { message } } }"""

_LAUNCH_BACKFILL = """mutation($parameters: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $parameters) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""

_RUN_STATUS = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""

_BACKFILL_STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs { id } } } }"""
