"""Segments that SQL cannot count exactly, judged by the engine: one pass over the identities for all of them.

Identities come in pages, with only the traits that the segments read, so memory does not grow with their number. A page
is one short statement: the engine's time holds no query open. What the engine cannot judge has no count but a reason.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from flag_engine.segments.utils import get_matching_function

from analytics_pipeline.flows.segments.judging import JudgeProcess
from analytics_pipeline.flows.segments.properties import is_singular, read_property
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.subjects import Inexact, trait_path
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse import ClickHouse

logger = logging.getLogger(__name__)

PAGE = 20_000
# For one segment and one page: a typical one takes half a second.
SECONDS_PER_PAGE = 10.0
# For all pages of a project.
SECONDS_PER_PROJECT = 480.0

_Row = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Reads:
    """What a segment's conditions look at: trait keys, and whether also the identity's own identifier or key."""

    traits: frozenset[str]
    identity: bool


class Unreadable(ValueError):
    """No row holds what the segment looks at as the engine would see it; the text says why."""


@dataclass
class Tally:
    """A segment's members by environment key, unless the engine has no answer."""

    counts: dict[str, int] = field(default_factory=dict)
    failure: str | None = None


def tally(
    clickhouse: ClickHouse, day: date, segments: Sequence[Segment], environments: Sequence[Environment]
) -> dict[int, Tally]:
    """The engine's answer for each segment, by its id."""
    tallies = {segment.id: Tally() for segment in segments}
    readable: list[tuple[Segment, Reads]] = []
    for segment in segments:
        try:
            readable.append((segment, _reads(segment)))
        except Unreadable as error:
            tallies[segment.id].failure = str(error)
    if readable:
        _judge(clickhouse, day, readable, environments, tallies)
    return tallies


def _judge(
    clickhouse: ClickHouse,
    day: date,
    segments: Sequence[tuple[Segment, Reads]],
    environments: Sequence[Environment],
    tallies: dict[int, Tally],
) -> None:
    reads = Reads(
        frozenset().union(*(reads.traits for _, reads in segments)), any(reads.identity for _, reads in segments)
    )
    judged = [tallies[segment.id] for segment, _ in segments]
    deadline = time.monotonic() + SECONDS_PER_PROJECT
    version = _version(clickhouse, day, environments)
    cases = [{"context": segment.context, "traits": sorted(reads.traits)} for segment, reads in segments]
    with JudgeProcess(cases, SECONDS_PER_PAGE) as judge:
        for environment in environments:
            for rows in _pages(clickhouse, day, environment, reads):
                if time.monotonic() > deadline:
                    _fail(judged, f"the engine needs more than {SECONDS_PER_PROJECT:g} s for the project's identities")
                    return
                _add(judged, environment, *judge.count(environment, rows))
    if _version(clickhouse, day, environments) != version:
        _fail(judged, "the snapshot was replaced while the engine counted it; materialise segment_counts again")


def _add(judged: Sequence[Tally], environment: Environment, counts: Sequence[int], failures: dict[int, str]) -> None:
    for number, found in enumerate(judged):
        found.failure = failures.get(number)
        found.counts[environment.key] = found.counts.get(environment.key, 0) + counts[number]


def _fail(judged: Sequence[Tally], reason: str) -> None:
    for found in judged:
        found.failure = found.failure or reason


def _version(clickhouse: ClickHouse, day: date, environments: Sequence[Environment]) -> Any:
    return clickhouse.scalar(
        "SELECT max(inserted_at) FROM identities"
        " WHERE snapshot_date = {day:Date} AND environment_id IN {environments:Array(String)}",
        day=day,
        environments=[environment.key for environment in environments],
    )


def _pages(clickhouse: ClickHouse, day: date, environment: Environment, reads: Reads) -> Iterator[list[Any]]:
    """The environment's identities, alike ones as one row: [how many, identifier, key, {trait key: [type, JSON]}]."""
    keys = sorted(reads.traits)
    after: str | None = None
    while rows := _page(clickhouse, day, environment, keys, after):
        after = rows[-1][0]
        alike = Counter(_row(row, reads) for row in rows)
        yield [
            [count, identifier, key, {name: value for name, value in zip(keys, values, strict=True) if value[1]}]
            for (identifier, key, values), count in alike.items()
        ]
        if len(rows) < PAGE:
            return


def _row(row: Sequence[str], reads: Reads) -> _Row:
    identifier, key, *values = row
    typed = tuple(zip(values[::2], values[1::2], strict=True))
    return (identifier, key, typed) if reads.identity else ("", "", typed)


def _page(
    clickhouse: ClickHouse, day: date, environment: Environment, keys: Sequence[str], after: str | None
) -> list[tuple[Any, ...]]:
    paths = [trait_path(key) if key else "getSubcolumn(i.traits, '')" for key in keys]
    values = "".join(f", dynamicType({path}), ifNull(toJSONString({path}), '')" for path in paths)
    return clickhouse.query(
        f"SELECT i.identifier, i.identity_key{values}\n"
        "FROM identities AS i FINAL\n"
        "WHERE i.snapshot_date = {day:Date} AND i.environment_id = {environment:String}"
        f"{'' if after is None else ' AND i.identifier > {after:String}'}\n"
        "ORDER BY i.identifier LIMIT {page:UInt32}\n"
        "SETTINGS output_format_json_quote_64bit_integers = 0",
        day=day,
        environment=environment.key,
        page=PAGE,
        **({} if after is None else {"after": after}),
    )


def _reads(segment: Segment) -> Reads:
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
