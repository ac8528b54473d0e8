"""The members of a segment, page by page: identities of the newest snapshot that its rules hold for."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.identities.stored import NOTHING, stored_environments
from analytics_pipeline.flows.segments.errors import Untranslatable
from analytics_pipeline.flows.segments.snapshot import why_lost
from analytics_pipeline.flows.segments.source import Segment, live_segment
from analytics_pipeline.flows.segments.statement import SETTINGS, Translated, ask, blames_segments
from analytics_pipeline.flows.segments.translation.predicates import Predicate, translate
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

NO_SNAPSHOT = "no snapshot of this environment has been loaded yet"


@dataclass(frozen=True)
class Member:
    """An identity and its traits by key, as the product holds them."""

    identifier: str
    identity_key: str
    traits: Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """The newest day of an environment that was loaded, and when it was captured (UTC)."""

    day: date
    captured_at: datetime


@dataclass(frozen=True)
class Members:
    """Members in the order of their identifiers. `reason`: why nobody can say who they are; then there are none."""

    found: list[Member]
    snapshot: Snapshot | None
    reason: str | None = None


@dataclass(frozen=True)
class Part:
    """The part of the members that is asked for: after an identifier, with a text in theirs, at most so many."""

    limit: int
    after: str | None = None
    text: str = ""


def members(
    clickhouse: ClickHouse, postgres: Postgres, environment: Environment, segment: int, part: Part
) -> Members | None:
    """A part of the segment's members in the environment; None: the project has no such segment.

    The text is looked for in any case of its letters.
    """
    found = live_segment(postgres, environment.project_id, segment)
    if found is None:
        return None
    snapshot = newest_snapshot(postgres, environment)
    if snapshot is None:
        return Members([], None, NO_SNAPSHOT)
    if not _holds(clickhouse, postgres, environment, snapshot):
        return Members([], snapshot, why_lost(snapshot.day))
    try:
        return Members(_members(clickhouse, environment, found, snapshot, part), snapshot)
    except Untranslatable as error:
        reason = str(error)
    except DatabaseError as error:
        if not blames_segments(error):
            raise
        reason = reason_of(error)
    logger.error("members.segment.skipped: segment %d: %s", segment, reason)
    return Members([], snapshot, f"its members cannot be listed: {reason}")


def newest_snapshot(postgres: Postgres, environment: Environment) -> Snapshot | None:
    """The environment's newest day that was loaded, by the ledger."""
    rows = postgres.query(_NEWEST, environment=environment.key)
    return Snapshot(*rows[0]) if rows else None


def _holds(clickhouse: ClickHouse, postgres: Postgres, environment: Environment, snapshot: Snapshot) -> bool:
    """Whether ClickHouse has the snapshot as it was loaded; nobody could tell lost rows from absent ones."""
    ((captured_at, rows),) = postgres.query(_LOADED, environment=environment.key, day=snapshot.day)
    stored = stored_environments(clickhouse, snapshot.day, [environment.key])
    return stored.get(environment.key, NOTHING).is_load(captured_at, rows)


def _members(
    clickhouse: ClickHouse, environment: Environment, segment: Segment, snapshot: Snapshot, part: Part
) -> list[Member]:
    if segment.defect:
        raise Untranslatable(segment.defect)
    predicate = translate(segment, [environment])
    _check_guards(clickhouse, environment, Translated(segment, predicate), snapshot)
    rows = clickhouse.query(
        _statement(predicate, part),
        day=snapshot.day,
        environment=environment.key,
        text=part.text,
        after=part.after or "",
        limit=part.limit,
        **predicate.parameters,
    )
    return [Member(identifier, key, read_traits(traits, structured)) for identifier, key, traits, structured in rows]


def _check_guards(clickhouse: ClickHouse, environment: Environment, item: Translated, snapshot: Snapshot) -> None:
    """Raises Untranslatable where the rows hold what SQL does not read as the engine does."""
    if item.predicate.guards:
        found = ask(clickhouse, snapshot.day, [item], [environment]).get(environment.key)
        if reasons := sorted(guard.reason for guard in found.tripped) if found else []:
            raise Untranslatable(reasons[0])


def read_traits(text: str, structured: list[str]) -> Mapping[str, Any]:
    """The traits of a row; those that are structured are stored as their JSON."""
    traits = json.loads(text)
    return {key: json.loads(value) if key in structured else value for key, value in traits.items()}


def _statement(predicate: Predicate, part: Part) -> str:
    """The wide traits are read only for those that are shown."""
    after = "" if part.after is None else "AND i.identifier > {after:String}"
    text = "AND positionCaseInsensitiveUTF8(i.identifier, {text:String}) > 0" if part.text else ""
    return f"""
        SELECT i.identifier, i.identity_key, toJSONString(i.traits), i.structured_traits FROM identities AS i FINAL
        WHERE {_OF_ENVIRONMENT} AND i.identifier IN (
            SELECT i.identifier FROM identities AS i FINAL
            WHERE {_OF_ENVIRONMENT} {after} {text} AND ({predicate.sql})
            ORDER BY i.identifier LIMIT {{limit:UInt32}}
        )
        ORDER BY i.identifier
        {SETTINGS}, output_format_json_quote_64bit_integers = 0
    """


_OF_ENVIRONMENT = "i.snapshot_date = {day:Date} AND i.environment_id = {environment:String}"

_NEWEST = """
    SELECT snapshot_date, captured_at FROM analytics_pipeline.identity_loads
    WHERE environment_key = %(environment)s AND captured_at IS NOT NULL ORDER BY snapshot_date DESC LIMIT 1
"""

_LOADED = """
    SELECT captured_at, rows FROM analytics_pipeline.identity_loads
    WHERE environment_key = %(environment)s AND snapshot_date = %(day)s
"""
