"""Segments that SQL cannot count exactly, judged by the engine: one pass over the identities for all of them.

Identities come in pages, with only the traits that the segments read, so memory does not grow with their number. A page
is a few short statements: the engine's time holds no query open. What the engine cannot judge has no count but a
reason.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any

from analytics_pipeline.flows.failures import reason_and_place, reason_of
from analytics_pipeline.flows.segments.engine.process import JudgeProcess
from analytics_pipeline.flows.segments.engine.rows import Case, IdentityRow, case_of, pages, union_of
from analytics_pipeline.flows.segments.errors import JudgeDied, Replaced, Unreadable
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.statement import blames_segments
from analytics_pipeline.flows.segments.translation.subjects import FLATTENED
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.isolation import Culprit, isolated
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached

logger = logging.getLogger(__name__)

# For one segment and one page: a typical one takes half a second.
SECONDS_PER_PAGE = 10.0
# The share of the project's time that is left to store the counts.
SECONDS_TO_STORE = 30.0
_REPLACED = "the snapshot was replaced while the engine counted it; materialise segment_counts again"
_OVER = "the time for the project's counts was over before the engine had seen all its identities"


@dataclass
class Tally:
    """A segment's members by environment key, and why the engine has no answer for environments, or for any."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


def tally(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> dict[int, Tally]:
    """The engine's answer for each segment, by its id. What the connection's deadline leaves no time for has none."""
    tallies: dict[int, Tally] = {}
    cases: list[Case] = []
    for segment in segments:
        try:
            cases.append(case_of(segment))
        except Unreadable as error:
            tallies[segment.id] = Tally(failure=str(error))
    if not cases:
        return tallies
    version = _version(clickhouse, day, environments)
    flattened = flattened_traits(clickhouse, day, environments)
    tallies |= {case.segment.id: Tally(failure=FLATTENED) for case in cases if case.reads.traits & flattened}
    deadline = clickhouse.deadline and clickhouse.deadline.earlier(SECONDS_TO_STORE)
    remaining = [case for case in cases if case.segment.id not in tallies]
    judged = _judge_each(clickhouse.limited(deadline), day, remaining, environments)
    if _version(clickhouse, day, environments) != version:
        _fail(judged, _REPLACED)
    return tallies | judged


def _judge_each(
    clickhouse: ClickHouse, day: date, cases: Sequence[Case], environments: Sequence[Environment]
) -> dict[int, Tally]:
    """One pass for all cases, or several when the judge dies of one, or ClickHouse cannot read for one."""
    tallies: dict[int, Tally] = {}
    for outcome in isolated(cases, lambda part: _judge(clickhouse, day, part, environments), blames_case):
        if isinstance(outcome, Culprit):
            segment = outcome.unit.segment
            logger.warning("segment %s cannot be judged: %s", segment.id, reason_and_place(outcome.error))
            tallies[segment.id] = Tally(failure=reason_of(outcome.error))
        else:
            tallies |= outcome.result
    return tallies


def blames_case(error: Exception) -> bool:
    """Whether one of the segments that are judged together is the culprit."""
    return isinstance(error, JudgeDied) or blames_segments(error)


def _judge(
    clickhouse: ClickHouse, day: date, cases: Sequence[Case], environments: Sequence[Environment]
) -> dict[int, Tally]:
    tallies = {case.segment.id: Tally() for case in cases}
    by_key = {environment.key: environment for environment in environments}
    reads = union_of(cases)
    try:
        with judge_of(cases, clickhouse.deadline) as judge:
            for page in pages(clickhouse, day, environments, sorted(reads.traits)):
                for key, rows in groupby(page, key=itemgetter(0)):
                    _add(list(tallies.values()), by_key[key], *judge.count(by_key[key], _alike(rows, reads.identity)))
    except TimeLimitReached:
        _fail(tallies, _OVER)
    except Replaced:
        _fail(tallies, _REPLACED)
    return tallies


def judge_of(cases: Sequence[Case], deadline: Deadline | None) -> JudgeProcess:
    """The process that judges these cases, to be entered."""
    segments = [{"context": case.segment.context, "traits": sorted(case.reads.traits)} for case in cases]
    return JudgeProcess(segments, SECONDS_PER_PAGE, deadline)


def _alike(rows: Iterable[IdentityRow], identity: bool) -> list[Any]:
    """Questions for the judge, with identities that are alike for the conditions as one."""
    alike = Counter((row[1:] if identity else ("", "", row[3])) for row in rows)
    return [[count, *row] for row, count in alike.items()]


def _add(judged: Sequence[Tally], environment: Environment, counts: Sequence[int], failures: dict[int, str]) -> None:
    for number, found in enumerate(judged):
        if number in failures:
            found.failures[environment.key] = failures[number]
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


def flattened_traits(clickhouse: ClickHouse, day: date, environments: Sequence[Environment]) -> frozenset[str]:
    """Trait keys that rows of an earlier version may hold as a map, or as an entry of one."""
    paths: list[str] = clickhouse.scalar(
        "SELECT distinctJSONPaths(i.traits) FROM identities AS i FINAL WHERE i.traits_format < 2"
        " AND i.snapshot_date = {day:Date} AND i.environment_id IN {environments:Array(String)}",
        day=day,
        environments=[environment.key for environment in environments],
    )
    dotted = [path for path in paths if "." in path]
    return frozenset(dotted).union(path[:end] for path in dotted for end, sign in enumerate(path) if sign == ".")
