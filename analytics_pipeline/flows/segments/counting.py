"""How many identities of a day's snapshot are in each segment: one pass over a project's rows for all its segments.

What SQL cannot say exactly, or ClickHouse refuses, is counted by the engine (`fallback`): its number is always the
engine's, or there is none.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from analytics_pipeline.flows.failures import reason_and_place, reason_of
from analytics_pipeline.flows.segments.engine.fallback import SECONDS_TO_STORE, tally
from analytics_pipeline.flows.segments.errors import Untranslatable
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.statement import (
    Found,
    Translated,
    ask,
    blames_segments,
    environment_parts,
    groups,
)
from analytics_pipeline.flows.segments.translation.predicates import translate
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.isolation import Culprit, isolated
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import (
    MEMORY_LIMIT_EXCEEDED,
    TIMEOUT_EXCEEDED,
    error_code,
    is_transient,
)
from analytics_pipeline.resources.deadline import TimeLimitReached

logger = logging.getLogger(__name__)

# Of predicate: that is more than twenty usual segments.
_HEAVY_BYTES = 20_000

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
class Refused:
    """A segment that SQL cannot count, and why."""

    segment: Segment
    reason: str


def count_segments(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> list[SegmentCount]:
    """Count every segment in every environment; a segment that cannot be counted does not disturb the others."""
    return [
        answer for part in environment_parts(environments) for answer in _count_part(clickhouse, day, segments, part)
    ]


def _count_part(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> list[SegmentCount]:
    translated: list[Translated] = []
    refused: list[Refused] = []
    for segment in segments:
        try:
            translated.append(Translated(segment, translate(segment, environments)))
        except Untranslatable as error:
            refused.append(Refused(segment, str(error)))
    light = [item for item in translated if item.predicate.size <= _HEAVY_BYTES]
    answers = [answer for group in groups(light) for answer in _count(clickhouse, day, group, environments)]
    refused += [answer for answer in answers if isinstance(answer, Refused)]
    counts = [answer for answer in answers if isinstance(answer, SegmentCount)]
    counts += _judged(clickhouse, day, refused, environments)
    for item in translated:
        if item.predicate.size > _HEAVY_BYTES:
            counts += _count_alone(clickhouse, day, item, environments)
    return counts


def _count_alone(
    clickhouse: ClickHouse, day: date, item: Translated, environments: Sequence[Environment]
) -> list[SegmentCount]:
    """Count a heavy segment after all others: when it takes too long, it alone has no count."""
    deadline = clickhouse.deadline and clickhouse.deadline.earlier(SECONDS_TO_STORE)
    answers = list(_count(clickhouse.limited(deadline), day, [item], environments))
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    counts = [answer for answer in answers if isinstance(answer, SegmentCount)]
    return counts + _judged(clickhouse, day, refused, environments)


def _count(
    clickhouse: ClickHouse, day: date, group: Sequence[Translated], environments: Sequence[Environment]
) -> Iterator[SegmentCount | Refused]:
    """Count the group in one statement, or in several when ClickHouse refuses some of its segments."""
    blames = blames_segments if group[0].predicate.size <= _HEAVY_BYTES else _blames_heavy
    for outcome in isolated(group, lambda part: ask(clickhouse, day, part, environments), blames):
        if isinstance(outcome, Culprit):
            segment = outcome.unit.segment
            logger.warning("segment %s cannot be counted in SQL: %s", segment.id, reason_and_place(outcome.error))
            yield Refused(segment, reason_of(outcome.error))
        else:
            yield from _answers(outcome.result, outcome.units, environments)


def _blames_heavy(error: Exception) -> bool:
    exhausted = error_code(error) in (TIMEOUT_EXCEEDED, MEMORY_LIMIT_EXCEEDED) and not is_transient(error)
    return blames_segments(error) or isinstance(error, TimeLimitReached) or exhausted


def _answers(
    found: dict[str, Found], group: Sequence[Translated], environments: Sequence[Environment]
) -> Iterator[SegmentCount | Refused]:
    tripped = frozenset(guard for answer in found.values() for guard in answer.tripped)
    for position, item in enumerate(group):
        if reasons := sorted(guard.reason for guard in item.predicate.guards & tripped):
            yield Refused(item.segment, reasons[0])
            continue
        for environment in environments:
            answer = found.get(environment.key)
            yield SegmentCount(item.segment.id, environment, answer.values[position] if answer else 0, "counted")


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
            if failure := found.failure or found.failures.get(environment.key):
                counts.append(SegmentCount(item.segment.id, environment, None, "failed", failure))
            else:
                count = found.counts.get(environment.key, 0)
                counts.append(SegmentCount(item.segment.id, environment, count, "fallback", item.reason))
    return counts
