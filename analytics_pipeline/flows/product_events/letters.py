"""Dead letters of product events: bounded in number and size, expiring, each of one organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.flows.dead_letters import DeadLetter, add_dead_letters
from analytics_pipeline.flows.erasure.forgotten import Forgotten
from analytics_pipeline.flows.erasure.letters import names_forgotten
from analytics_pipeline.resources.postgres import Connection, Postgres

FLOW = "product_events"
KEPT_DAYS = 14
MOST_OF_ORGANISATION = 10_000
# Of one request; of the others the verdicts alone tell.
MOST_OF_REQUEST = 100


@dataclass(frozen=True)
class Letter:
    """A rejected event: `payload` is its envelope as JSON, as far as it may be kept."""

    id: int
    organisation_id: int
    event_id: str
    reason: str
    recorded_at: datetime
    payload: str


def keep(connection: Connection, organisation_id: int, letters: Sequence[DeadLetter], request_id: str) -> None:
    """Keep the first letters of a request, as part of the transaction, and forget what is too old or too many."""
    if not letters:
        return
    named = {one.record_key or f"{request_id}:{number}": one for number, one in enumerate(letters[:MOST_OF_REQUEST])}
    kept = [DeadLetter(key, one.reason, one.payload) for key, one in named.items()]
    add_dead_letters(connection, FLOW, unit_of(organisation_id), kept, request_id)
    limits = {"flow": FLOW, "unit": unit_of(organisation_id), "days": KEPT_DAYS, "most": MOST_OF_ORGANISATION}
    connection.execute(_FORGET, limits)


def listed(store: Postgres, organisation_id: int | None = None) -> list[Letter]:
    """The dead letters of an organisation, or of all, oldest first."""
    rows = store.query(_LISTED, flow=FLOW, unit=None if organisation_id is None else unit_of(organisation_id))
    return [Letter(one, int(unit.rpartition(" ")[2]), *rest) for one, unit, *rest in rows]


def removed(store: Postgres, ids: Sequence[int]) -> int:
    """Remove dead letters; returns how many there were."""
    return len(store.query(_REMOVE, flow=FLOW, ids=list(ids)))


def is_of_forgotten(who: Forgotten, letter: Letter) -> bool:
    """Whether the letter names somebody who was forgotten."""
    return names_forgotten(who, FLOW, unit_of(letter.organisation_id), letter.event_id, letter.payload)


def unit_of(organisation_id: int) -> str:
    """The unit of an organisation's dead letters."""
    return f"organisation {organisation_id}"


_FORGET = """
    DELETE FROM analytics_pipeline.dead_letters WHERE flow = %(flow)s AND unit = %(unit)s AND (
        recorded_at < now() - make_interval(days => %(days)s)
        OR id <= (
            SELECT id FROM analytics_pipeline.dead_letters WHERE flow = %(flow)s AND unit = %(unit)s
            ORDER BY id DESC OFFSET %(most)s LIMIT 1
        )
    )
"""
_LISTED = """
    SELECT id, unit, record_key, reason, recorded_at, payload FROM analytics_pipeline.dead_letters
    WHERE flow = %(flow)s AND (%(unit)s::text IS NULL OR unit = %(unit)s) ORDER BY id
"""
_REMOVE = "DELETE FROM analytics_pipeline.dead_letters WHERE flow = %(flow)s AND id = ANY(%(ids)s) RETURNING id"
