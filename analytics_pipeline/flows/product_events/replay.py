"""Dead letters sent through ingestion once more: what has become acceptable is stored and leaves their table."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.product_events import letters
from analytics_pipeline.flows.product_events.decoding import decoded
from analytics_pipeline.flows.product_events.ingestion import Ingestion, Submission
from analytics_pipeline.flows.product_events.letters import Letter
from analytics_pipeline.flows.product_events.registry import Row
from analytics_pipeline.flows.product_events.rows import RowMaker, row_maker
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Connection, Postgres

_AT_ONCE = 1_000


@dataclass(frozen=True)
class Replayed:
    """How many dead letters were stored, how many stay because they are still rejected, and how many were removed.

    Those are removed that name somebody who was forgotten: a backup brought them back.
    """

    stored: int
    kept: int
    removed: int


def replay(settings: Settings, store: Postgres, clickhouse: ClickHouse, found: Sequence[Letter]) -> Replayed:
    """Ingest these dead letters again.

    Raises:
        StoreAway: a store did not take them; those stay.
    """
    maker = row_maker(settings)
    ingestion = Ingestion(store, lambda: clickhouse, maker, _everybody)
    who = forgotten(store)
    gone = [one.id for one in found if letters.is_of_forgotten(who, one)]
    letters.removed(store, gone)
    rest = [one for one in found if one.id not in {*gone}]
    stored: list[int] = []
    for start in range(0, len(rest), _AT_ONCE):
        stored += _replayed(ingestion, maker, rest[start : start + _AT_ONCE])
    letters.removed(store, stored)
    return Replayed(len(stored), len(rest) - len(stored), len(gone))


def _replayed(ingestion: Ingestion, maker: RowMaker, some: Sequence[Letter]) -> list[int]:
    """The ids of those that are stored now."""
    made = [(letter, _row(maker, letter)) for letter in some]
    rows = [(letter, row) for letter, row in made if row is not None]
    # What is rejected once more stays as it is, so it is not given to ingestion, which would keep it anew.
    submissions = [Submission(0, letter.organisation_id, "replay", [row]) for letter, row in rows]
    ingestion.commit(submissions)
    taken = zip(rows, submissions, strict=True)
    return [letter.id for (letter, _), one in taken if one.outcomes[0] in ("accepted", "duplicate")]


def _row(maker: RowMaker, letter: Letter) -> Row | None:
    arrived = decoded(letter.payload.encode(), "lines")
    (made,) = maker.made(letter.organisation_id, arrived, time.time_ns() // 1_000_000)
    return made if isinstance(made, Row) else None


def _everybody(_: Connection, ids: Collection[int]) -> set[int]:
    """An operator replays, so no token is asked for."""
    return {*ids}
