"""The live segments of a project, as the evaluation engine takes them."""

from dataclasses import dataclass
from typing import Any, cast

from flag_engine.context.types import SegmentContext, SegmentRule

from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Segment:
    """A segment and its rules in the engine's shape: {type, conditions: [{operator, property, value}], rules}."""

    id: int
    name: str
    rules: list[dict[str, Any]]

    @property
    def context(self) -> SegmentContext[Any, Any]:
        """The engine's segment context; the key, which salts percentage splits, is the id as text."""
        return {"key": str(self.id), "name": self.name, "rules": cast("list[SegmentRule]", self.rules)}


def live_segments(postgres: Postgres, project_id: int) -> list[Segment]:
    """The project's segments that are not deleted, by id."""
    rows = postgres.query(
        "SELECT id, name, rules FROM {segments} WHERE project_id = %(project)s AND deleted_at IS NULL ORDER BY id",
        project=project_id,
    )
    return [Segment(*row) for row in rows]
