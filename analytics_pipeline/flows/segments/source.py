"""The live segments of a project, as the evaluation engine takes them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from flag_engine.context.types import SegmentContext, SegmentRule

from analytics_pipeline.resources.postgres import Postgres

# Of JSON, two levels for each level of rules. Python and ClickHouse give up at about a thousand.
DEEPEST = 200


@dataclass(frozen=True)
class Segment:
    """A segment and its rules in the engine's shape: {type, conditions: [{operator, property, value}], rules}.

    `defect` says why the rules cannot be read at all; they are empty then, and mean nothing.
    """

    id: int
    name: str
    rules: list[dict[str, Any]]
    defect: str = ""

    @property
    def context(self) -> SegmentContext[Any, Any]:
        """The engine's segment context; the key, which salts percentage splits, is the id as text."""
        return {"key": str(self.id), "name": self.name, "rules": cast("list[SegmentRule]", self.rules)}


def live_segments(postgres: Postgres, project_id: int) -> list[Segment]:
    """The project's segments that are not deleted, by id. One whose rules cannot be read has a `defect`."""
    rows = postgres.query(
        # As text: the driver would decode all of them at once, and fail for all because of one.
        "SELECT id, name, rules::text FROM {segments}"
        " WHERE project_id = %(project)s AND deleted_at IS NULL AND id IS NOT NULL ORDER BY id",
        project=project_id,
    )
    return [_segment(*row) for row in rows]


def live_segment(postgres: Postgres, project_id: int, segment_id: int) -> Segment | None:
    """The project's segment of that id; None: there is none, or it is deleted."""
    rows = postgres.query(
        "SELECT id, name, rules::text FROM {segments}"
        " WHERE project_id = %(project)s AND id = %(segment)s AND deleted_at IS NULL",
        project=project_id,
        segment=segment_id,
    )
    return _segment(*rows[0]) if rows else None


def _segment(id_: int, name: str, text: str) -> Segment:
    try:
        rules = json.loads(text)
    except (RecursionError, TypeError, ValueError) as error:
        return Segment(id_, name, [], f"its rules cannot be read ({type(error).__name__}: {error})")
    if _is_deeper(rules, DEEPEST):
        return Segment(id_, name, [], f"its rules cannot be read: they are nested deeper than {DEEPEST} levels")
    return Segment(id_, name, rules)


def _is_deeper(value: object, levels: int) -> bool:
    """Whether JSON is nested deeper, without recursion."""
    found: list[object] = [value]
    for _ in range(levels):
        found = [child for item in found for child in _children(item)]
    return bool(found)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
