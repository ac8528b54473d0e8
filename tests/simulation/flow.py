"""What the simulation knows of a flow: what of it can be asked for, written and lost, and who judges it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tests.simulation.auditor import Auditor
from tests.simulation.source import Row


@dataclass(frozen=True)
class Draft:
    """What a row is made from. `moment` is when it happened, `now` when it is written; both are UTC."""

    relation: str
    id: int
    moment: datetime
    now: datetime
    hour: int
    name: str | None
    value: float | None
    who: int


def _no_row(draft: Draft) -> Row:
    raise LookupError(f"no flow writes rows of {draft.relation}")


@dataclass(frozen=True)
class Flow:
    """A flow of the pipeline.

    `looks` are its sensors and schedules; the first one follows changed rows, where it has `relations`. `assets` are
    materialised together by hand, `tables` are those of ClickHouse, and `row` makes a row of one of the relations.
    """

    name: str
    looks: tuple[str, ...]
    assets: tuple[str, ...]
    tables: tuple[str, ...]
    auditor: type[Auditor]
    relations: tuple[str, ...] = ()
    row: Callable[[Draft], Row] = _no_row
