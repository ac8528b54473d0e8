"""Segments that SQL cannot count exactly, judged by the engine: one pass over the identities for all of them.

Identities come in pages, with only the traits that the segments read, so memory does not grow with their number. A page
is one short statement: the engine's time holds no query open. What the engine cannot judge has no count but a reason.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from flag_engine.segments.utils import get_matching_function

from analytics_pipeline.flows.segments.engine.process import JudgeDied, JudgeProcess
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.properties import is_singular, read_property
from analytics_pipeline.flows.segments.translation.subjects import Inexact, trait_path
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached

logger = logging.getLogger(__name__)

PAGE = 20_000
# For one segment and one page: a typical one takes half a second.
SECONDS_PER_PAGE = 10.0
# What the engine leaves of the project's time, so that the counts that there are can be stored.
SECONDS_TO_STORE = 30.0

IdentityRow = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Reads:
    """What conditions look at: trait keys, and whether also the identity's own identifier or key."""

    traits: frozenset[str]
    identity: bool


class Unreadable(ValueError):
    """No row holds what the segment looks at as the engine would see it; the text says why."""


@dataclass
class Tally:
    """A segment's members by environment key, unless the engine has no answer."""

    counts: dict[str, int] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class Case:
    """A segment that the engine can be asked about, and what it reads."""

    segment: Segment
    reads: Reads


def tally(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> dict[int, Tally]:
    """The engine's answer for each segment, by its id. What the connection's deadline leaves no time for has none."""
    tallies: dict[int, Tally] = {}
    cases: list[Case] = []
    for segment in segments:
        try:
            cases.append(Case(segment, reads_of(segment)))
        except Unreadable as error:
            tallies[segment.id] = Tally(failure=str(error))
    if cases:
        version = _version(clickhouse, day, environments)
        deadline = clickhouse.deadline and clickhouse.deadline.earlier(SECONDS_TO_STORE)
        judged = _judge(clickhouse.limited(deadline), day, cases, environments)
        if _version(clickhouse, day, environments) != version:
            _fail(judged, "the snapshot was replaced while the engine counted it; materialise segment_counts again")
        tallies |= judged
    return tallies


def _judge(
    clickhouse: ClickHouse, day: date, cases: Sequence[Case], environments: Sequence[Environment]
) -> dict[int, Tally]:
    """One pass for all cases; when the judge dies of one, halve them until the culprit is alone."""
    tallies = {case.segment.id: Tally() for case in cases}
    try:
        with judge_of(cases, clickhouse.deadline) as judge:
            for environment in environments:
                for rows in _pages(clickhouse, day, environment, union_of(cases)):
                    _add(list(tallies.values()), environment, *judge.count(environment, rows))
    except TimeLimitReached:
        _fail(tallies, "the time for the project's counts was over before the engine had seen all its identities")
    except JudgeDied as error:
        if len(cases) == 1:
            logger.warning("the judge died of segment %s", cases[0].segment.id, exc_info=True)
            _fail(tallies, str(error))
            return tallies
        middle = len(cases) // 2
        return {
            **_judge(clickhouse, day, cases[:middle], environments),
            **_judge(clickhouse, day, cases[middle:], environments),
        }
    return tallies


def judge_of(cases: Sequence[Case], deadline: Deadline | None) -> JudgeProcess:
    """The process that judges these cases, to be entered."""
    segments = [{"context": case.segment.context, "traits": sorted(case.reads.traits)} for case in cases]
    return JudgeProcess(segments, SECONDS_PER_PAGE, deadline)


def union_of(cases: Sequence[Case]) -> Reads:
    """What any of the cases reads."""
    traits = frozenset[str]().union(*(case.reads.traits for case in cases))
    return Reads(traits, any(case.reads.identity for case in cases))


def _add(judged: Sequence[Tally], environment: Environment, counts: Sequence[int], failures: dict[int, str]) -> None:
    for number, found in enumerate(judged):
        found.failure = failures.get(number)
        found.counts[environment.key] = found.counts.get(environment.key, 0) + counts[number]


def _fail(judged: Mapping[int, Tally], reason: str) -> None:
    for found in judged.values():
        found.failure = found.failure or reason


def _version(clickhouse: ClickHouse, day: date, environments: Sequence[Environment]) -> Any:
    return clickhouse.scalar(
        "SELECT max(inserted_at) FROM identities"
        " WHERE snapshot_date = {day:Date} AND environment_id IN {environments:Array(String)}",
        day=day,
        environments=[environment.key for environment in environments],
    )


def _pages(clickhouse: ClickHouse, day: date, environment: Environment, reads: Reads) -> Iterator[list[Any]]:
    """The environment's identities, alike ones as one row."""
    keys = sorted(reads.traits)
    after: str | None = None
    while rows := _page(clickhouse, day, environment, keys, after):
        after = rows[-1][0]
        alike = Counter(identity_row(row, reads) for row in rows)
        yield [request_row(row, keys, count) for row, count in alike.items()]
        if len(rows) < PAGE:
            return


def identity_row(row: Sequence[str], reads: Reads) -> IdentityRow:
    """Identifier, key, and type and JSON of each trait; those that are alike for the conditions are equal."""
    identifier, key, *values = row
    typed = tuple(zip(values[::2], values[1::2], strict=True))
    return (identifier, key, typed) if reads.identity else ("", "", typed)


def request_row(row: IdentityRow, keys: Sequence[str], alike: int) -> list[Any]:
    """What the judge takes: [how many, identifier, key, {trait key: [type, JSON]}]."""
    identifier, key, values = row
    return [alike, identifier, key, {name: value for name, value in zip(keys, values, strict=True) if value[1]}]


def _page(
    clickhouse: ClickHouse, day: date, environment: Environment, keys: Sequence[str], after: str | None
) -> list[tuple[Any, ...]]:
    return read_identities(
        clickhouse,
        day,
        environment,
        keys,
        f"{'' if after is None else 'AND i.identifier > {after:String} '}ORDER BY i.identifier LIMIT {{page:UInt32}}",
        page=PAGE,
        **({} if after is None else {"after": after}),
    )


def read_identities(
    clickhouse: ClickHouse, day: date, environment: Environment, keys: Sequence[str], which: str, **parameters: Any
) -> list[tuple[Any, ...]]:
    """The environment's identities that `which` picks, as (identifier, key, type of the first trait, its JSON, …)."""
    paths = [trait_path(key) if key else "getSubcolumn(i.traits, '')" for key in keys]
    values = "".join(f", dynamicType({path}), ifNull(toJSONString({path}), '')" for path in paths)
    return clickhouse.query(
        f"SELECT i.identifier, i.identity_key{values}\n"
        "FROM identities AS i FINAL\n"
        f"WHERE i.snapshot_date = {{day:Date}} AND i.environment_id = {{environment:String}} {which}\n"
        "SETTINGS output_format_json_quote_64bit_integers = 0",
        day=day,
        environment=environment.key,
        **parameters,
    )


def reads_of(segment: Segment) -> Reads:
    """What the segment looks at.

    Raises:
        Unreadable: the engine cannot be asked about it.
    """
    try:
        texts = [text for rule in segment.rules for text in _properties(rule)]
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise Unreadable(f"its rules are malformed ({type(error).__name__}: {error})") from error
    if several := [text for text in texts if not is_singular(text)]:
        raise Unreadable(f"{several[0]!r} may name several values, and a snapshot does not keep their order")
    found = [read_property(text) for text in texts]
    traits = {*texts, *(read.key for read in found if read.kind == "trait")}
    for key in traits - {""}:
        try:
            trait_path(key)
        except Inexact as error:
            raise Unreadable(str(error)) from error
    return Reads(frozenset(traits), any(read.path or not text for read, text in zip(found, texts, strict=True)))


def _properties(rule: dict[str, Any]) -> Iterator[str]:
    get_matching_function(rule["type"])
    for condition in rule.get("conditions") or []:
        yield condition.get("property") or ""
    for nested in rule.get("rules") or []:
        yield from _properties(nested)
