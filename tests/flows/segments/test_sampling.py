"""The sample on which SQL and the engine are compared: bounded, and the same for the same day."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from analytics_pipeline.flows.segments.engine.process import JudgeProcess
from analytics_pipeline.flows.segments.errors import JudgeDied
from analytics_pipeline.flows.segments.sampling import compare as comparing
from analytics_pipeline.flows.segments.sampling import sample as sampling
from analytics_pipeline.flows.segments.sampling.agreement import Disagreement
from analytics_pipeline.flows.segments.sampling.compare import compare
from analytics_pipeline.flows.segments.sampling.members import engine_members
from analytics_pipeline.flows.segments.translation.conditions import Sql, Translator
from analytics_pipeline.flows.tenants import all_projects
from analytics_pipeline.resources.deadline import TimeLimitReached
from tests.product import KEY, Product, condition, document, today


@pytest.fixture
def counted(product: Product) -> Product:
    """Ten identities, five of them in segment 1, counted today."""
    product.put(*(document(f"user-{n}", plan="pro" if n % 2 else "free") for n in range(10)))
    assert product.materialise().success
    return product


def _wrong_for(monkeypatch: pytest.MonkeyPatch, identifier: str) -> None:
    """SQL takes this identity for a member of every segment with a condition."""
    right = Translator.condition

    def wrong(self: Translator, condition: Mapping[str, Any]) -> Sql:
        sql = right(self, condition)
        return Sql(f"({sql.text}) OR i.identifier = '{identifier}'", sql.guards)

    monkeypatch.setattr(Translator, "condition", wrong)


def _found(product: Product) -> list[Disagreement]:
    return compare(product.clickhouse, product.postgres, today(), "another run").found


def test_sample__of_all_identities__finds_the_only_difference(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wrong_for(monkeypatch, "user-4")

    (found,) = _found(counted)

    assert (found.segment_id, found.environment_id, found.differing, found.sampled) == (1, 100, 1, 10)
    rows = counted.clickhouse.query(
        "SELECT identifier FROM identities FINAL WHERE startsWith(lower(hex(SHA256(identifier))), {example:String})",
        example=found.example,
    )
    assert rows == [("user-4",)]


def test_sample__smaller_than_the_snapshot__is_the_same_again_and_another_on_another_day(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "IDENTITIES", 3)
    counted.clickhouse.execute(
        "INSERT INTO identities (snapshot_date, project_id, environment_id, identifier, inserted_at)"
        " SELECT snapshot_date - 1, project_id, environment_id, identifier, inserted_at FROM identities"
    )
    environments = all_projects(counted.postgres)[0].environments

    first, again, before = (
        _identifiers(counted, day, sampling.sample_of(counted.clickhouse, day, environments).hashes)
        for day in (today(), today(), today() - timedelta(days=1))
    )

    assert len(first) == len(before) == 3
    assert first == again
    assert first != before


def _identifiers(product: Product, day: date, hashes: list[tuple[str, int]]) -> set[str]:
    rows = product.clickhouse.query(
        "SELECT identifier FROM identities FINAL WHERE snapshot_date = {day:Date}"
        " AND sipHash64(toString({day:Date}), identifier) IN {hashes:Array(UInt64)}",
        day=day,
        hashes=[one for _, one in hashes],
    )
    return {identifier for (identifier,) in rows}


@pytest.mark.slow
def test_sample__several_environments__share_it(counted: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    counted.add_environment(101, key="other")
    counted.put(*(document(f"user-{n}", "other") for n in range(10)))
    counted.materialise()
    monkeypatch.setattr(sampling, "IDENTITIES", 6)
    environments = all_projects(counted.postgres)[0].environments

    sample = sampling.sample_of(counted.clickhouse, today(), environments)

    assert Counter(key for key, _ in sample.hashes) == {KEY: 3, "other": 3}


@pytest.mark.slow
def test_sample__clickhouse_refuses_one_segment__the_others_are_compared(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted.add_segment(2, condition("REGEX", "plan", r"(\w{30}){30}"))
    counted.add_segment(3, condition("EQUAL", "plan", "free"))
    _wrong_for(monkeypatch, "user-4")

    assert [found.segment_id for found in _found(counted)] == [1]  # user-4 is in segment 3


@pytest.mark.slow
def test_sample__judge_dies_of_one_segment__the_others_are_compared(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted.add_segment(2, condition("EQUAL", "deadly", "x"))
    counted.add_segment(3, condition("EQUAL", "plan", "gold"))
    _wrong_for(monkeypatch, "user-4")
    ask = JudgeProcess.count

    def dies(self: JudgeProcess, environment: Any, rows: Any) -> Any:
        if "deadly" in str(self._start or ""):
            raise JudgeDied("of this segment")
        return ask(self, environment, rows)

    monkeypatch.setattr(JudgeProcess, "count", dies)

    assert [found.segment_id for found in _found(counted)] == [1, 3]


@pytest.mark.slow
def test_sample__time_is_over__ends_without_a_verdict(counted: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    _wrong_for(monkeypatch, "user-4")
    monkeypatch.setattr(comparing, "SECONDS", 0.0)

    comparison = compare(counted.clickhouse, counted.postgres, today(), "another run")

    assert (comparison.counts()["projects"], comparison.projects_left_out, comparison.found) == (0, 1, [])


def test_sample__time_is_over_within_a_project__what_was_compared_counts(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 6):
        counted.add_segment(number, condition("EQUAL", "plan", f"plan-{number}"))
    monkeypatch.setattr(comparing, "SEGMENTS_AT_ONCE", 2)
    portions: list[int] = []

    def judged(clickhouse: Any, day: date, sample: sampling.Sample, cases: Any) -> Any:
        portions.append(len(cases))
        if len(portions) > 2:
            raise TimeLimitReached("the check's time is over")
        return engine_members(clickhouse, day, sample, cases)

    monkeypatch.setattr(comparing, "engine_members", judged)

    counts = compare(counted.clickhouse, counted.postgres, today(), "another run").counts()

    assert portions == [2, 2, 1]
    assert counts == {
        "projects": 1,
        "environments": 1,
        "segments": 4,
        "identities": 10,
        "answers": 40,
        "projects_left_out": 0,
        "segments_left_out": 1,
    }


def test_sample__more_segments_than_it_takes__says_how_much_was_compared(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 6):
        counted.add_segment(number, condition("EQUAL", "plan", f"plan-{number}"))
    monkeypatch.setattr(comparing, "SEGMENTS", 3)

    counts = compare(counted.clickhouse, counted.postgres, today(), "another run").counts()

    assert counts == {
        "projects": 1,
        "environments": 1,
        "segments": 3,
        "identities": 10,
        "answers": 30,
        "projects_left_out": 0,
        "segments_left_out": 2,
    }


def test_sample__several_environments__one_process_and_one_question_for_each(
    counted: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(101, 104):
        counted.add_environment(number, key=f"other-{number}")
        counted.put(*(document(f"user-{n}", f"other-{number}", plan="pro") for n in range(5)))
    counted.materialise()
    entered: list[JudgeProcess] = []
    asked: list[int] = []
    enter, ask = JudgeProcess.__enter__, JudgeProcess.count

    def entering(self: JudgeProcess) -> JudgeProcess:
        entered.append(self)
        return enter(self)

    def asking(self: JudgeProcess, environment: Any, rows: Any) -> Any:
        asked.append(len(rows))
        return ask(self, environment, rows)

    monkeypatch.setattr(JudgeProcess, "__enter__", entering)
    monkeypatch.setattr(JudgeProcess, "count", asking)

    assert _found(counted) == []
    assert (len(entered), sorted(asked)) == (1, [5, 5, 5, 10])


@pytest.mark.slow
def test_sample__project_was_deleted_since__is_left_out(counted: Product) -> None:
    counted.execute("DELETE FROM projects")

    assert _found(counted) == []
