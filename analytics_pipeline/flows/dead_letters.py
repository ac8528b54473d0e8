"""Records that could not be mapped, or not all of them, kept with the reason: nothing is lost and nobody is stopped."""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.erasure.letters import names_forgotten
from analytics_pipeline.resources.postgres import Connection, Postgres


@dataclass(frozen=True)
class DeadLetter:
    """One record: what identifies it, why it was refused, and the record itself as text.

    Of a record that was kept, but for a part that could not be read, the reason begins with "kept without".
    """

    record_key: str
    reason: str
    payload: str


def units_with_dead_letters(postgres: Postgres, flow: str, units: Sequence[str]) -> set[str]:
    """Those of the flow's units that have dead letters."""
    rows = postgres.query(
        "SELECT DISTINCT unit FROM analytics_pipeline.dead_letters WHERE flow = %(flow)s AND unit = ANY(%(units)s)",
        flow=flow,
        units=list(units),
    )
    return {unit for (unit,) in rows}


def replace_dead_letters(postgres: Postgres, flow: str, unit: str, letters: Sequence[DeadLetter], run_id: str) -> None:
    """Make `letters` the unit's dead letters, in one transaction; earlier ones of the unit go.

    None is kept that names somebody who was forgotten.
    """
    if letters:
        who = forgotten(postgres)
        letters = [one for one in letters if not names_forgotten(who, flow, unit, one.record_key, one.payload)]
    with postgres.ledgers.connect() as connection:
        connection.execute("DELETE FROM analytics_pipeline.dead_letters WHERE flow = %s AND unit = %s", [flow, unit])
        _insert(connection, flow, unit, letters, run_id)


def add_dead_letters(connection: Connection, flow: str, unit: str, letters: Sequence[DeadLetter], run_id: str) -> None:
    """Keep `letters` besides the unit's others, as part of the connection's transaction; one of the same key goes."""
    keys = [_storable(one.record_key) for one in letters]
    connection.execute(
        "DELETE FROM analytics_pipeline.dead_letters WHERE flow = %s AND unit = %s AND record_key = ANY(%s)",
        [flow, unit, keys],
    )
    _insert(connection, flow, unit, letters, run_id)


def _insert(connection: Connection, flow: str, unit: str, letters: Sequence[DeadLetter], run_id: str) -> None:
    connection.cursor().executemany(
        "INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [[flow, unit, *map(_storable, (x.record_key, x.reason, x.payload)), run_id] for x in letters],
    )


def _storable(text: str) -> str:
    # Postgres text cannot hold NUL, and UTF-8 cannot hold lone surrogates; a dead letter must always be storable.
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")
