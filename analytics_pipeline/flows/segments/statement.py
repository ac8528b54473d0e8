"""Statements about many segments at once, of a size that every server reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.predicates import Predicate, guards_size
from analytics_pipeline.flows.segments.translation.subjects import GUARD_FACTS, Guard
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import error_code, is_transient
from analytics_pipeline.resources.clickhouse.limits import PARAMETER_BYTES, STATEMENT_BYTES, parts, size_of

SEGMENTS_PER_STATEMENT = 100
# The predicates share most of their work; evaluating each lazily for itself takes twice as long.
SETTINGS = "SETTINGS short_circuit_function_evaluation = 'disable', precise_float_parsing = 1"
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


@dataclass(frozen=True)
class Translated:
    """A segment that SQL can be asked about."""

    segment: Segment
    predicate: Predicate


@dataclass(frozen=True)
class Found:
    """Of one environment: what the aggregate says of each segment, in order, and the guards that are not 0."""

    values: Sequence[Any]
    tripped: frozenset[Guard]


def environment_parts(environments: Sequence[Environment]) -> Iterator[list[Environment]]:
    """Environments whose keys are one parameter together."""
    return parts(environments, lambda one: size_of(one.key) + 3, PARAMETER_BYTES, len(environments))


def groups(translated: Sequence[Translated]) -> Iterator[list[Translated]]:
    """Segments for one statement each; a guard that several of them need stands in it once."""
    group: list[Translated] = []
    guards: set[Guard] = set()
    total = 0
    for item in translated:
        size = size_of(item.predicate.sql) + guards_size(item.predicate.guards - guards)
        if group and (len(group) == SEGMENTS_PER_STATEMENT or total + size > STATEMENT_BYTES):
            yield group
            group, guards, total, size = [], set(), 0, item.predicate.size
        group.append(item)
        guards |= item.predicate.guards
        total += size
    if group:
        yield group


def ask(
    clickhouse: ClickHouse,
    day: date,
    group: Sequence[Translated],
    environments: Sequence[Environment],
    *,
    aggregate: str = "countIf({predicate})",
    which: str = "",
    **parameters: Any,
) -> dict[str, Found]:
    """One pass over the day's identities of these environments for all segments of the group; by environment key.

    `which` narrows the identities. An environment without identities is not in the result.
    """
    guards = sorted({guard for item in group for guard in item.predicate.guards}, key=lambda guard: guard.sql)
    columns = [aggregate.format(predicate=item.predicate.sql) for item in group] + [guard.sql for guard in guards]
    for item in group:
        parameters |= item.predicate.parameters
    rows = clickhouse.query(
        f"WITH {GUARD_FACTS}\n"
        f"SELECT i.environment_id, {', '.join(columns)}\n"
        "FROM identities AS i FINAL\n"
        f"WHERE i.snapshot_date = {{day:Date}} AND i.environment_id IN {{environments:Array(String)}} {which}\n"
        "GROUP BY i.environment_id\n"
        f"{SETTINGS}",
        day=day,
        environments=[environment.key for environment in environments],
        **parameters,
    )
    return {key: _found(values, len(group), guards) for key, *values in rows}


def _found(values: Sequence[Any], segments: int, guards: Sequence[Guard]) -> Found:
    tripped = frozenset(guard for guard, value in zip(guards, values[segments:], strict=True) if value)
    return Found(values[:segments], tripped)


def blames_segments(error: Exception) -> bool:
    """Whether ClickHouse refuses what a statement says, so that one of its segments is the culprit."""
    return isinstance(error, DatabaseError) and not is_transient(error) and error_code(error) not in _NOT_THE_SEGMENT
