"""How many identities of a day's snapshot are in each segment: one pass over a project's rows for all its segments.

What SQL cannot say exactly, or ClickHouse refuses, is counted by the engine (`fallback`): its number is always the
engine's, or there is none.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.segments.engine.fallback import tally
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.predicates import Predicate, Untranslatable, translate
from analytics_pipeline.flows.segments.translation.subjects import Guard
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import error_code, is_transient

logger = logging.getLogger(__name__)

SEGMENTS_PER_STATEMENT = 100
# The predicates share most of their work; evaluating each lazily for itself takes twice as long.
STATEMENT_SETTINGS = "SETTINGS short_circuit_function_evaluation = 'disable', precise_float_parsing = 1"
# ClickHouse reads statements of 256 KiB (`max_query_size`).
_CHARACTERS_PER_STATEMENT = 200_000
# Trouble that no single segment causes, so that looking for a culprit would blame the innocent.
_NOT_THE_SEGMENT = frozenset(
    {
        60,  # UNKNOWN_TABLE
        81,  # UNKNOWN_DATABASE
        159,  # TIMEOUT_EXCEEDED
        241,  # MEMORY_LIMIT_EXCEEDED
        394,  # QUERY_WAS_CANCELLED
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
    }
)
Status: TypeAlias = Literal["counted", "fallback", "failed"]


@dataclass(frozen=True)
class SegmentCount:
    """The answer for one segment in one environment. `count` None is unknown, and `reason` says why."""

    segment_id: int
    environment: Environment
    count: int | None
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Translated:
    segment: Segment
    predicate: Predicate


@dataclass(frozen=True)
class Refused:
    """A segment that SQL cannot count, and why."""

    segment: Segment
    reason: str


@dataclass(frozen=True)
class _Pass:
    """By environment key, of those that have rows: the counts of a group of segments, and the values of its guards."""

    matches: dict[str, tuple[int, ...]]
    tripped: frozenset[Guard]


def count_segments(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> list[SegmentCount]:
    """Count every segment in every environment; a segment that cannot be counted does not disturb the others."""
    if not environments:
        return []
    translated: list[Translated] = []
    refused: list[Refused] = []
    for segment in segments:
        try:
            translated.append(Translated(segment, translate(segment, environments)))
        except Untranslatable as error:
            refused.append(Refused(segment, str(error)))
    counts: list[SegmentCount] = []
    for group in _groups(translated):
        for answer in _count(clickhouse, day, group, environments):
            if isinstance(answer, Refused):
                refused.append(answer)
            else:
                counts.append(answer)
    return counts + _judged(clickhouse, day, refused, environments)


def _groups(translated: Sequence[Translated]) -> Iterator[list[Translated]]:
    group: list[Translated] = []
    characters = 0
    for item in translated:
        length = len(item.predicate.sql) + sum(len(guard.sql) for guard in item.predicate.guards)
        if group and (len(group) == SEGMENTS_PER_STATEMENT or characters + length > _CHARACTERS_PER_STATEMENT):
            yield group
            group, characters = [], 0
        group.append(item)
        characters += length
    if group:
        yield group


def _count(
    clickhouse: ClickHouse, day: date, group: Sequence[Translated], environments: Sequence[Environment]
) -> Iterator[SegmentCount | Refused]:
    """Count the group in one statement; when ClickHouse refuses it, halve it until the culprits are alone."""
    try:
        found = _one_pass(clickhouse, day, group, environments)
    except DatabaseError as error:
        if is_transient(error) or error_code(error) in _NOT_THE_SEGMENT:
            raise
        if len(group) == 1:
            logger.warning("segment %s cannot be counted in SQL", group[0].segment.id, exc_info=True)
            yield Refused(group[0].segment, reason_of(error))
            return
        middle = len(group) // 2
        yield from _count(clickhouse, day, group[:middle], environments)
        yield from _count(clickhouse, day, group[middle:], environments)
    else:
        yield from _answers(found, group, environments)


def _answers(
    found: _Pass, group: Sequence[Translated], environments: Sequence[Environment]
) -> Iterator[SegmentCount | Refused]:
    for position, item in enumerate(group):
        if reasons := sorted(guard.reason for guard in item.predicate.guards & found.tripped):
            yield Refused(item.segment, reasons[0])
            continue
        for environment in environments:
            matches = found.matches.get(environment.key)
            yield SegmentCount(item.segment.id, environment, matches[position] if matches else 0, "counted")


def _one_pass(
    clickhouse: ClickHouse, day: date, group: Sequence[Translated], environments: Sequence[Environment]
) -> _Pass:
    """Count in one statement, together with what shows that a count would not be exact."""
    guards = sorted({guard for item in group for guard in item.predicate.guards}, key=lambda guard: guard.sql)
    columns = [f"countIf({item.predicate.sql})" for item in group] + [guard.sql for guard in guards]
    parameters = {name: value for item in group for name, value in item.predicate.parameters.items()}
    rows = clickhouse.query(
        f"SELECT i.environment_id, {', '.join(columns)}\n"
        "FROM identities AS i FINAL\n"
        "WHERE i.snapshot_date = {day:Date} AND i.environment_id IN {environments:Array(String)}\n"
        "GROUP BY i.environment_id\n"
        f"{STATEMENT_SETTINGS}",
        day=day,
        environments=[environment.key for environment in environments],
        **parameters,
    )
    tripped = {guard for _, *values in rows for guard, value in zip(guards, values[len(group) :], strict=True) if value}
    return _Pass({key: tuple(values[: len(group)]) for key, *values in rows}, frozenset(tripped))


def _judged(
    clickhouse: ClickHouse, day: date, refused: Sequence[Refused], environments: Sequence[Environment]
) -> list[SegmentCount]:
    """The engine's own counts of what SQL cannot count."""
    if not refused:
        return []
    tallies = tally(clickhouse, day, [item.segment for item in refused], environments)
    counts = []
    for item in refused:
        found = tallies[item.segment.id]
        for environment in environments:
            if found.failure:
                counts.append(SegmentCount(item.segment.id, environment, None, "failed", found.failure))
            else:
                count = found.counts.get(environment.key, 0)
                counts.append(SegmentCount(item.segment.id, environment, count, "fallback", item.reason))
    return counts
