"""What SQL cannot count, the engine counts: in pages, in one pass, within its time, each segment for itself."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import OperationalError
from flag_engine.segments.evaluator import MATCHERS_BY_OPERATOR

from analytics_pipeline.flows.segments import statement
from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.segments.engine import fallback, rows
from analytics_pipeline.flows.segments.engine.process import JudgeProcess
from analytics_pipeline.flows.segments.engine.rows import Case
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.subjects import FLATTENED
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.deadline import Deadline
from tests.flows.segments.differential import DAY, Person, count, load
from tests.product import Product, condition
from tests.thorough import rarely

# Backtracks without end on a text of "a"s and something else.
_HOSTILE = "(a+)+$"
_FALLING_BACK = "(?=pro)"
_ENVIRONMENT = Environment(100, "env-0", "Name 0", 10, 1)


def _segment(number: int, operator: str, name: str, value: Any) -> Segment:
    return Segment(number, "segment", condition(operator, name, value))


def _fill_one_environment(product: Product, traits: Sequence[dict[str, Any]]) -> None:
    load(product.clickhouse, [Person("first", traits[0])])
    for number, one in enumerate(traits[1:]):
        product.clickhouse.execute(
            "INSERT INTO identities (snapshot_date, project_id, environment_id, identifier, identity_key, traits,"
            " inserted_at) SELECT {day:Date}, 10, 'env-0', {name:String}, {name:String}, {traits:String}, now64(3)",
            day=DAY,
            name=f"person-{number}",
            traits=json.dumps(one),
        )


def _answers(product: Product, *segments: Segment) -> list[tuple[int | None, str, str]]:
    found = count_segments(product.clickhouse, DAY, segments, [_ENVIRONMENT])
    return [(one.count, one.status, one.reason) for one in sorted(found, key=lambda one: one.segment_id)]


def test_fallback__more_identities_than_a_page__all_are_judged(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "PAGE", 3)
    _fill_one_environment(empty_product, [{"plan": "pro" if n % 2 else "free"} for n in range(10)])
    pages: list[int] = []
    ask = JudgeProcess.count

    def counted(self: JudgeProcess, environment: Environment, rows: Sequence[Any]) -> Any:
        pages.append(sum(row[0] for row in rows))
        return ask(self, environment, rows)

    monkeypatch.setattr(JudgeProcess, "count", counted)

    answers = _answers(empty_product, _segment(1, "REGEX", "plan", _FALLING_BACK), _segment(2, "REGEX", "x", "(?=y)"))

    reason = "its regular expression has no equal in SQL: RE2 has no assert"
    assert answers == [(5, "fallback", reason), (0, "fallback", reason)]
    assert pages == [3, 3, 3, 1]  # one pass for both segments


def test_fallback__second_run__answers_the_same(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{"plan": "pro"}, {"plan": "free"}])
    segments = [_segment(1, "REGEX", "plan", _FALLING_BACK), _segment(2, "EQUAL", "plan", "pro")]

    assert _answers(empty_product, *segments) == _answers(empty_product, *segments)


def test_fallback__engine_raises__only_that_segment_is_unknown(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{"age": 5, "plan": "pro"}])

    answers = _answers(
        empty_product,
        _segment(1, "MODULO", "age", "0|0"),
        _segment(2, "REGEX", "plan", "("),
        _segment(3, "REGEX", "plan", _FALLING_BACK),
        _segment(4, "EQUAL", "plan", "pro"),
    )

    assert [(count, status) for count, status, _ in answers] == [
        (None, "failed"),
        (None, "failed"),
        (1, "fallback"),
        (1, "counted"),
    ]
    assert answers[0][2] == "the engine raises ZeroDivisionError: float modulo"
    assert answers[1][2].startswith("the engine raises error: missing ), unterminated subpattern")


def test_fallback__expression_backtracks_without_end__only_that_segment_is_unknown(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "SECONDS_PER_PAGE", 0.5)
    _fill_one_environment(empty_product, [{"plan": "a" * 60 + "!"}])

    answers = _answers(
        empty_product, _segment(1, "REGEX", "plan", "(?=a)" + _HOSTILE), _segment(2, "REGEX", "plan", "(?=a)")
    )

    assert [(count, status) for count, status, _ in answers] == [(None, "failed"), (1, "fallback")]
    assert answers[0][2] == "the engine needs more than 0.5 s for a batch of identities"


def test_counts__expression_that_would_backtrack__is_harmless_in_sql(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{"plan": "a" * 60 + "!"}])

    assert _answers(empty_product, _segment(1, "REGEX", "plan", _HOSTILE)) == [(0, "counted", "")]


def test_fallback__clickhouse_refuses_the_expression__the_engine_counts(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{"plan": "é" * 900}])

    ((count, status, reason), other) = _answers(
        empty_product, _segment(1, "REGEX", "plan", r"(\w{30}){30}"), _segment(2, "IS_SET", "plan", "")
    )

    assert (count, status) == (1, "fallback")
    assert reason.startswith("ClickHouse error 427")
    assert other == (1, "counted", "")


def test_fallback__project_takes_too_long__has_no_numbers_and_the_others_keep_theirs(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{"plan": "pro"}])
    limited = empty_product.clickhouse.limited(Deadline.after(fallback.SECONDS_TO_STORE, "time is over"))

    found = count_segments(
        limited,
        DAY,
        [_segment(1, "REGEX", "plan", _FALLING_BACK), _segment(2, "EQUAL", "plan", "pro")],
        [_ENVIRONMENT],
    )

    assert [(one.count, one.status, one.reason) for one in sorted(found, key=lambda one: one.segment_id)] == [
        (None, "failed", "the time for the project's counts was over before the engine had seen all its identities"),
        (1, "counted", ""),
    ]


def test_fallback__judge_dies_of_one_segment__only_that_one_is_unknown(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_one_environment(empty_product, [{"plan": "pro"}, {"plan": "free"}])
    judge = fallback.judge_of

    def deadly(cases: Sequence[Case], deadline: Deadline | None) -> JudgeProcess:
        process = judge(cases, deadline)
        if any(case.segment.id == 3 for case in cases):
            process._start["nonsense"] = "of this the process dies"
        return process

    monkeypatch.setattr(fallback, "judge_of", deadly)
    monkeypatch.setattr(rows, "PAGE", 1)

    answers = _answers(empty_product, *(_segment(number, "REGEX", "plan", "(?=pro)") for number in range(1, 6)))

    assert [(count, status) for count, status, _ in answers] == [
        (1, "fallback"),
        (1, "fallback"),
        (None, "failed"),
        (1, "fallback"),
        (1, "fallback"),
    ]
    assert answers[2][2] == "the process that runs the engine ended before it answered"


def test_fallback__snapshot_replaced_meanwhile__has_no_numbers(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_one_environment(empty_product, [{"plan": "pro"}])
    versions = iter(["before", "after"])
    monkeypatch.setattr(fallback, "_version", lambda *_: next(versions))

    ((count, status, reason),) = _answers(empty_product, _segment(1, "REGEX", "plan", _FALLING_BACK))

    assert (count, status) == (None, "failed")
    assert reason.startswith("the snapshot was replaced while the engine counted it")


def test_fallback__page_fails_for_a_moment__is_read_again(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_one_environment(empty_product, [{"plan": "pro"}])
    query, failures = empty_product.clickhouse.client.query, [OperationalError("connection reset")]

    def flaky(sql: str, **options: Any) -> Any:
        if "LIMIT" in sql and failures:
            raise failures.pop()
        return query(sql, **options)

    monkeypatch.setattr(empty_product.clickhouse.client, "query", flaky)

    ((count, status, _),) = _answers(empty_product, _segment(1, "REGEX", "plan", _FALLING_BACK))

    assert (count, status, failures) == (1, "fallback", [])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "$.identity.traits.*",
            "'$.identity.traits.*' may name several values, and a snapshot does not keep their order",
        ),
        ("$..plan", "'$..plan' may name several values, and a snapshot does not keep their order"),
        ("$.flags.beta.enabled", "'$.flags.beta.enabled' is not part of a snapshot, which holds identities and traits"),
        ("$.identity.email", "'$.identity.email' is not part of a snapshot, which holds identities and traits"),
        ("$.environment.id", "'$.environment.id' is not part of a snapshot, which holds identities and traits"),
        ("$.anything", "'$.anything' is not part of a snapshot, which holds identities and traits"),
        ("a.:`x`", "SQL has no name for the trait key 'a.:`x`'"),
    ],
)
def test_fallback__no_row_holds_what_the_segment_reads__is_unknown(
    empty_product: Product, name: str, reason: str
) -> None:
    _fill_one_environment(empty_product, [{"plan": "pro"}])

    assert _answers(empty_product, _segment(1, "EQUAL", name, "pro")) == [(None, "failed", reason)]


def test_fallback__list_in_a_row_of_an_earlier_version__is_unknown(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{}, {"k": [1, "a"]}])

    ((count, status, reason),) = _answers(empty_product, _segment(1, "CONTAINS", "k", "1"))

    assert (count, status) == (None, "failed")
    assert reason == "a trait holds a value of the type Array(Dynamic), which a snapshot does not keep exactly"


@pytest.mark.parametrize(
    ("name", "traits"), [("a.b", {"a": {"b": "x"}}), *rarely(("a.b", {"a.b": "x"}), ("a", {"a": {"b": "x"}}))]
)
@pytest.mark.parametrize("operator", ["EQUAL", "IS_SET", "IS_NOT_SET", "REGEX"])
def test_counts__map_or_dotted_key_in_a_row_of_an_earlier_version__is_unknown(
    empty_product: Product, operator: str, name: str, traits: dict[str, Any]
) -> None:
    _fill_one_environment(empty_product, [{}, traits])

    answers = _answers(empty_product, _segment(1, operator, name, "x"), _segment(2, operator, "other", "x"))

    assert answers[0] == (None, "failed", FLATTENED)
    assert answers[1][1] == "counted"


def test_counts__map_and_dotted_key__are_told_apart(empty_product: Product) -> None:
    traits: list[dict[str, Any]] = [{"a.b": "x"}, {"a": {"b": "x"}}, {"a.b": "y", "a": {"b": "x"}}, {"a": "x"}, {}]
    people = [Person(f"person-{n}", one) for n, one in enumerate(traits)]
    load(empty_product.clickhouse, people)
    segments = [_segment(1, "EQUAL", "a.b", "x"), _segment(2, "IS_SET", "a", ""), _segment(3, "IS_SET", "a.b", "")]
    segments += [_segment(4, "EQUAL", "$.identity.traits.a.b", "x"), _segment(5, "IS_SET", "$.identity.traits.a", "")]

    counts = count(empty_product.clickhouse, people, segments)

    answers = {number: ([one.count for one in found], found[0].status) for number, found in counts.items()}
    assert answers == {
        1: ([1, 0, 0, 0, 0], "counted"),
        2: ([0, 1, 1, 1, 0], "counted"),
        3: ([1, 0, 1, 0, 0], "counted"),
        4: ([0, 1, 1, 0, 0], "fallback"),
        5: ([0, 0, 0, 1, 0], "fallback"),
    }


def test_counts__text_of_more_digits_than_python_reads__is_unknown(empty_product: Product) -> None:
    """The engine raises before it looks at the operator."""
    _fill_one_environment(empty_product, [{"k": "9" * 4301}, {"k": "1"}])
    operators = [*sorted(MATCHERS_BY_OPERATOR), "IS_SET", "IS_NOT_SET", "IN", "PERCENTAGE_SPLIT"]
    segments = [_segment(number, operator, "k", "50") for number, operator in enumerate(operators, start=1)]

    answers = _answers(empty_product, *segments)

    reason = "the engine raises ValueError: Exceeds the limit (4300 digits)"
    assert [(count, status, text[: len(reason)]) for count, status, text in answers] == [
        (None, "failed", reason)
    ] * len(operators)


def test_counts__long_text_that_is_no_number__counts_as_the_engine_decides(empty_product: Product) -> None:
    _fill_one_environment(empty_product, [{"k": "x" * 5000}, {"k": "9" * 4300}])

    assert _answers(empty_product, _segment(1, "IS_SET", "k", ""))[0][:2] == (2, "fallback")


def test_pages__of_an_empty_environment__ask_nothing_of_the_engine(empty_product: Product) -> None:
    assert _answers(empty_product, _segment(1, "REGEX", "plan", _FALLING_BACK))[0][:2] == (0, "fallback")


def test_counts__many_segments__go_in_few_statements(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    query = ClickHouse.query

    def recorded(self: ClickHouse, sql: str, **parameters: Any) -> Any:
        statements.append(sql)
        return query(self, sql, **parameters)

    monkeypatch.setattr(ClickHouse, "query", recorded)
    monkeypatch.setattr(statement, "SEGMENTS_PER_STATEMENT", 10)
    segments = [_segment(number, "EQUAL", "plan", str(number)) for number in range(1, 26)]

    assert {answer[1] for answer in _answers(empty_product, *segments)} == {"counted"}
    assert len(statements) == 3
