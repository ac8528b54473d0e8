"""Identities as the engine's judge takes them, read from ClickHouse."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

from flag_engine.segments.utils import get_matching_function

from analytics_pipeline.flows.segments.errors import Inexact, Replaced, Unreadable
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.properties import Property, read_property
from analytics_pipeline.flows.segments.translation.subjects import literal, trait_path
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import STATEMENT_BYTES, parts, size_of

# Identities in a page, unless so many traits are read that it could hold more values than this.
PAGE = 20_000
_VALUES = 2_000_000
_KEYS_PER_STATEMENT = 500

# Environment key, identifier, identity key, and of each trait that is set its key, type and JSON.
IdentityRow: TypeAlias = tuple[str, str, str, tuple[tuple[str, str, str], ...]]


@dataclass(frozen=True)
class Reads:
    """The parts of an identity that conditions read: trait keys, and whether also its own identifier or key."""

    traits: frozenset[str]
    identity: bool


@dataclass(frozen=True)
class Case:
    """A segment that the engine can be asked about, and what it reads."""

    segment: Segment
    reads: Reads


def case_of(segment: Segment) -> Case:
    """The segment with what it looks at.

    Raises:
        Unreadable: the engine cannot be asked about it.
    """
    try:
        texts = [text for rule in segment.rules for text in _properties(rule)]
        found = [(text, read_property(text)) for text in texts]
    except Exception as error:
        raise Unreadable(f"its rules are malformed ({type(error).__name__}: {error})") from error
    traits: set[str] = set()
    for text, read in found:
        _check(text, read)
        traits |= {text, read.key or text}
    return Case(segment, Reads(frozenset(traits), any(read.path or not text for text, read in found)))


def _check(text: str, read: Property) -> None:
    if read.kind == "several":
        raise Unreadable(f"{text!r} may name several values, and a snapshot does not keep their order")
    if read.kind == "unseen":
        raise Unreadable(f"{text!r} is not part of a snapshot, which holds identities and traits")
    try:
        for key in {text, read.key} - {""}:
            trait_path(key)
    except Inexact as error:
        raise Unreadable(str(error)) from error


def _properties(rule: dict[str, Any]) -> Iterator[str]:
    get_matching_function(rule["type"])
    for condition in rule.get("conditions") or []:
        yield condition.get("property") or ""
    for nested in rule.get("rules") or []:
        yield from _properties(nested)


def union_of(cases: Sequence[Case]) -> Reads:
    """The union of what the cases read."""
    traits = frozenset[str]().union(*(case.reads.traits for case in cases))
    return Reads(traits, any(case.reads.identity for case in cases))


def pages(
    clickhouse: ClickHouse, day: date, environments: Sequence[Environment], keys: Sequence[str]
) -> Iterator[list[IdentityRow]]:
    """The identities of the environments with their traits of these keys, ordered by environment key and identifier.

    Raises:
        Replaced: the snapshot was replaced meanwhile.
    """
    size = max(1, min(PAGE, _VALUES // max(len(keys), 1)))
    which, after = "", ("", "")
    while page := read_identities(
        clickhouse,
        day,
        environments,
        keys,
        f"{which} ORDER BY i.environment_id, i.identifier LIMIT {{size:UInt32}}",
        size=size,
        environment=after[0],
        identifier=after[1],
    ):
        yield page
        if len(page) < size:
            return
        after = page[-1][:2]
        which = (
            "AND (i.environment_id > {environment:String}"
            " OR (i.environment_id = {environment:String} AND i.identifier > {identifier:String}))"
        )


def read_identities(
    clickhouse: ClickHouse,
    day: date,
    environments: Sequence[Environment],
    keys: Sequence[str],
    which: str,
    **parameters: Any,
) -> list[IdentityRow]:
    """The identities that `which` picks and orders; several statements when one cannot name all the keys.

    Raises:
        Replaced: these did not see the same identities.
    """
    parameters |= {"day": day, "environments": [environment.key for environment in environments]}
    answers = []
    values = [_value(key) for key in keys]
    for part in parts(values, size_of, STATEMENT_BYTES, _KEYS_PER_STATEMENT) if values else [[]]:
        traits = f"arrayFilter(trait -> trait.2 != 'None', [{', '.join(part)}])" if part else "[]"
        rows = clickhouse.query(
            f"SELECT i.environment_id, i.identifier, i.identity_key, {traits}\n"
            "FROM identities AS i FINAL\n"
            "WHERE i.snapshot_date = {day:Date} AND i.environment_id IN {environments:Array(String)}"
            f" {which}\nSETTINGS output_format_json_quote_64bit_integers = 0",
            **parameters,
        )
        answers.append(rows)
    if any([row[:3] for row in rows] != [row[:3] for row in answers[0]] for rows in answers[1:]):
        raise Replaced
    return [(*same[0][:3], tuple(trait for row in same for trait in row[3])) for same in zip(*answers, strict=True)]


def _value(key: str) -> str:
    path = trait_path(key) if key else "getSubcolumn(i.traits, '')"
    kind = f"if(has(i.structured_traits, {literal(key)}), 'JSON', dynamicType({path}))"
    return f"({literal(key)}, {kind}, ifNull(toJSONString({path}), ''))"
