"""The process of the judge, seen from the pipeline."""

import json
import subprocess
import sys
from collections.abc import Sequence
from threading import Timer
from types import TracebackType
from typing import Any

from analytics_pipeline.flows.segments.errors import JudgeDied
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.deadline import Deadline

# The judge stops by itself; this is for an engine that does not let it.
_PATIENCE = 60.0


class JudgeProcess:
    """Runs `analytics_pipeline.flows.segments.engine.judge` for some segments; ends with the `with` block."""

    def __init__(self, segments: Sequence[dict[str, Any]], seconds: float, deadline: Deadline | None = None) -> None:
        self._start = {"segments": list(segments), "seconds": seconds}
        self._limit = len(segments) * seconds + _PATIENCE
        self._deadline = deadline

    def __enter__(self) -> "JudgeProcess":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "analytics_pipeline.flows.segments.engine.judge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def count(self, environment: Environment, rows: Sequence[Any]) -> tuple[list[int], dict[int, str]]:
        """The members among the rows for each segment, and why segments (by their position) have no answer for them.

        Raises:
            JudgeDied: the process did not answer.
            TimeLimitReached: it was ended, because the deadline had passed.
        """
        names = {"key": environment.key, "name": environment.name}
        limit = min(self._limit, self._deadline.remaining) if self._deadline else self._limit
        watchdog = Timer(max(limit, 0), self._process.kill)
        watchdog.start()
        try:
            answer = self._ask({"environment": names, "rows": rows})
        except JudgeDied:
            if self._deadline:
                self._deadline.check()
            raise
        finally:
            watchdog.cancel()
        return answer["counts"], {int(number): reason for number, reason in answer["failures"].items()}

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        lines = [self._start, request] if self._start else [request]
        self._start = {}
        try:
            stdin.writelines(f"{json.dumps(line)}\n" for line in lines)
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            raise JudgeDied("the process that runs the engine ended before it answered") from error
        return answer
