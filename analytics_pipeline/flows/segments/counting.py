"""How many identities of a day's snapshot are in each segment: one pass over a project's rows for all its segments."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.segments.predicates import Predicate, Untranslatable, translate
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse import ClickHouse, error_code, is_transient

logger = logging.getLogger(__name__)

SEGMENTS_PER_STATEMENT = 100
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


def count_segments(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> list[SegmentCount]:
    """Count every segment in every environment; a segment that cannot be counted does not disturb the others."""
    if not environments:
        return []
    counts: list[SegmentCount] = []
    translated: list[Translated] = []
    for segment in segments:
        try:
            translated.append(Translated(segment, translate(segment, environments)))
        except Untranslatable as error:
            counts += _unknown(segment, environments, str(error))
    for start in range(0, len(translated), SEGMENTS_PER_STATEMENT):
        counts += _count(clickhouse, day, translated[start : start + SEGMENTS_PER_STATEMENT], environments)
    return counts


def _count(
    clickhouse: ClickHouse, day: date, group: Sequence[Translated], environments: Sequence[Environment]
) -> Iterator[SegmentCount]:
    """Count the group in one statement; when ClickHouse refuses it, halve it until the culprits are alone."""
    try:
        matches = _one_pass(clickhouse, day, group, environments)
    except DatabaseError as error:
        if is_transient(error) or error_code(error) in _NOT_THE_SEGMENT:
            raise
        if len(group) == 1:
            logger.warning("segment %s cannot be counted in SQL", group[0].segment.id, exc_info=True)
            yield from _unknown(group[0].segment, environments, reason_of(error))
            return
        middle = len(group) // 2
        yield from _count(clickhouse, day, group[:middle], environments)
        yield from _count(clickhouse, day, group[middle:], environments)
    else:
        for position, item in enumerate(group):
            for environment in environments:
                found = matches.get(environment.key)
                yield SegmentCount(item.segment.id, environment, found[position] if found else 0, "counted")


def _one_pass(
    clickhouse: ClickHouse, day: date, group: Sequence[Translated], environments: Sequence[Environment]
) -> dict[str, tuple[int, ...]]:
    """The counts of each environment that has rows, in the group's order."""
    columns = ",\n".join(f"countIf({item.predicate.sql})" for item in group)
    parameters = {name: value for item in group for name, value in item.predicate.parameters.items()}
    rows = clickhouse.query(
        f"SELECT i.environment_id, {columns}\n"
        "FROM identities AS i FINAL\n"
        "WHERE i.snapshot_date = {day:Date} AND i.environment_id IN {environments:Array(String)}\n"
        "GROUP BY i.environment_id\n"
        # The predicates share most of their work; evaluating each lazily for itself takes twice as long.
        "SETTINGS short_circuit_function_evaluation = 'disable'",
        day=day,
        environments=[environment.key for environment in environments],
        **parameters,
    )
    return {key: tuple(counts) for key, *counts in rows}


def _unknown(segment: Segment, environments: Sequence[Environment], reason: str) -> list[SegmentCount]:
    return [SegmentCount(segment.id, environment, None, "failed", reason) for environment in environments]
