"""The engine itself as a judge, in a process of its own (`python -m analytics_pipeline.flows.segments.engine.judge`).

Python's `re` may backtrack for ever and holds the interpreter while it does. In its own process the judge can interrupt
itself: a segment that takes too long for one batch is given up, and the others go on.

It reads JSON lines: first the segments, then batches of identities; it answers each batch with one line.
"""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TextIO

from flag_engine.segments.evaluator import is_context_in_segment

from analytics_pipeline.flows.segments.errors import TooSlow, Unfaithful

# Types that a row holds as they were. Lists are among them only in rows of an earlier version.
_FAITHFUL = frozenset(
    {
        "None",
        "String",
        "Bool",
        "Int64",
        "Array(Nullable(String))",
        "Array(Nullable(Bool))",
        "Array(Nullable(Int64))",
    }
)


def read_value(kind: str, text: str) -> Any:
    """A trait's value from its type in ClickHouse and its JSON; the type JSON is text that holds a list or a map.

    Raises:
        Unfaithful: with the type.
    """
    if kind == "Float64":
        return float(text)
    if kind == "JSON":
        return json.loads(json.loads(text))
    if kind not in _FAITHFUL:
        raise Unfaithful(f"a trait holds a value of the type {kind}, which a snapshot does not keep exactly")
    return json.loads(text)


@dataclass
class Judge:
    """Counts the identities that are in each segment. `seconds`: for one segment and one batch.

    A segment that takes longer is given up. One that the engine fails on is asked about again with the next batch: that
    may be of an environment in which nobody's traits let it fail.
    """

    segments: Sequence[dict[str, Any]]
    seconds: float
    given_up: dict[int, str] = field(default_factory=dict)

    def count(self, environment: dict[str, str], rows: Sequence[Sequence[Any]]) -> tuple[list[int], dict[int, str]]:
        """The counts by segment, and why segments (by their position) have none, whose counts mean nothing.

        A row: how many identities are alike, identifier, key, and of each trait its key, type and JSON.
        """
        stored = [(*row, {key: (kind, text) for key, kind, text in traits}) for *row, traits in rows]
        counts, failures = [0] * len(self.segments), dict(self.given_up)
        for number, segment in enumerate(self.segments):
            if number in failures:
                continue
            try:
                with _time_limit(self.seconds):
                    counts[number] = sum(self._members(environment, segment, stored))
            except TooSlow:
                failures[number] = f"the engine needs more than {self.seconds:g} s for a batch of identities"
                self.given_up[number] = failures[number]
            except Exception as error:  # noqa: BLE001 - whatever the engine raises is its answer
                failures[number] = _reason(error)
        return counts, failures

    def _members(
        self, environment: dict[str, str], segment: dict[str, Any], rows: Sequence[Sequence[Any]]
    ) -> Iterator[int]:
        for alike, identifier, key, values in rows:
            traits = {name: read_value(*values[name]) for name in segment["traits"] if name in values}
            identity = {"identifier": identifier, "key": key, "traits": traits}
            context: Any = {"environment": environment, "identity": identity}
            if is_context_in_segment(context, segment["context"]):
                yield alike


def _reason(error: Exception) -> str:
    if isinstance(error, Unfaithful):
        return str(error)
    return f"the engine raises {type(error).__name__}: {error}"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    judge = Judge(**json.loads(requests.readline()))
    for line in requests:
        batch = json.loads(line)
        counts, failures = judge.count(batch["environment"], batch["rows"])
        answers.write(json.dumps({"counts": counts, "failures": failures}) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
