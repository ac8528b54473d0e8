"""The engine as a judge in a process of its own."""

import io
import json
import time
from typing import Any

import pytest

from analytics_pipeline.flows.segments.engine import process as judging
from analytics_pipeline.flows.segments.engine.judge import Judge, read_value, serve
from analytics_pipeline.flows.segments.engine.process import JudgeProcess
from analytics_pipeline.flows.segments.errors import JudgeDied, Unfaithful
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached
from tests.product import condition


def _case(operator: str, value: str) -> dict[str, Any]:
    return {"context": Segment(1, "segment", condition(operator, "k", value)).context, "traits": ["k"]}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Int64", "1", 1),
        ("Float64", "1", 1.0),
        ("Bool", "true", True),
        ("String", '"1"', "1"),
        ("JSON", '"[true, 1, 1.5]"', [True, 1, 1.5]),
    ],
)
def test_value__json_of_clickhouse__is_read_by_its_type(kind: str, text: str, value: Any) -> None:
    read = read_value(kind, text)

    assert (read, type(read)) == (value, type(value))


def test_value__type_that_changes_on_the_way__is_refused() -> None:
    with pytest.raises(Unfaithful, match=r"Array\(Nullable\(Float64\)\)"):
        read_value("Array(Nullable(Float64))", "[1]")


def test_judge__reads_lines__answers_each_batch() -> None:
    case = _case("EQUAL", "x")
    batch = {"environment": {"key": "e", "name": "n"}, "rows": [[3, "", "", [["k", "String", '"x"']]], [1, "", "", []]]}
    answers = io.StringIO()

    serve(io.StringIO("\n".join(map(json.dumps, [{"segments": [case], "seconds": 1}, batch, batch]))), answers)

    assert answers.getvalue() == '{"counts": [3], "failures": {}}\n' * 2


def test_judge__engine_failed_before__other_identities_are_judged() -> None:
    judge = Judge([_case("MODULO", "0|0")], seconds=1)
    row = [1, "", "", [["k", "Int64", "5"]]]

    first = judge.count({"key": "e", "name": "n"}, [row])
    second = judge.count({"key": "f", "name": "n"}, [[1, "", "", []]])

    assert (list(first[1]), second) == ([0], ([0], {}))


def test_judge__segment_was_too_slow__is_not_judged_again() -> None:
    judge = Judge([_case("REGEX", "(a+)+$")], seconds=0.1)
    row = [1, "", "", [["k", "String", json.dumps("a" * 60 + "!")]]]

    first = judge.count({"key": "e", "name": "n"}, [row])
    second = judge.count({"key": "f", "name": "n"}, [[1, "", "", []]])

    assert first == second == ([0], {0: "the engine needs more than 0.1 s for a batch of identities"})


def test_judge_process__does_not_stop_by_itself__is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_PATIENCE", 0.0)
    case = _case("EQUAL", "x")

    with JudgeProcess([case], seconds=0.01) as judge, pytest.raises(JudgeDied, match="ended before it answered"):
        judge.count(Environment(100, "env-0", "Name 0", 10, 1), [])


def test_judge_process__deadline_passes_while_it_works__is_killed() -> None:
    case = _case("REGEX", "(a+)+$")
    row = [1, "", "", [["k", "String", json.dumps("a" * 60 + "!")]]]
    begun = time.monotonic()

    with JudgeProcess([case], seconds=60, deadline=Deadline.after(1, "over")) as judge:
        with pytest.raises(TimeLimitReached, match="over"):
            judge.count(Environment(100, "env-0", "Name 0", 10, 1), [row])
        judge._process.wait(timeout=10)

    assert judge._process.returncode == -9
    assert time.monotonic() - begun < 30
