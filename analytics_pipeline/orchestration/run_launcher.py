"""Runs as processes of the code server, and a word on whether they are still there.

Dagster's own launcher cannot say whether a run that has started still runs. Where the code server is a container, its
end is the end of its runs, and each would hold its slot until `run_monitoring.max_runtime_seconds` has passed.
"""

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

_SECONDS = 10


class ServerRunLauncher(DefaultRunLauncher):
    """The default launcher, for code servers started with `dagster api grpc`.

    `dagster code-server start` puts a proxy before the servers, which asks only the newest one: after a reload it would
    deny the runs of the one before.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the server that the run was given to still has it. A server that does not answer may yet have it."""
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:  # a run of a shell's own process, or one that has just ended
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_SECONDS)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the code server was started again and has no such run")
