"""Records that could not be mapped, kept with the reason so that nothing is lost and nobody is stopped."""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_pipeline.resources.postgres import Connection, Postgres


@dataclass(frozen=True)
class DeadLetter:
    """One refused record: what identifies it, why it was refused, and the record itself as text."""

    record_key: str
    reason: str
    payload: str


def replace_dead_letters(postgres: Postgres, flow: str, unit: str, letters: Sequence[DeadLetter], run_id: str) -> None:
    """Make `letters` the unit's dead letters, in one transaction; earlier ones of the unit go."""
    with postgres.connect() as connection:
        connection.execute("DELETE FROM analytics_pipeline.dead_letters WHERE flow = %s AND unit = %s", [flow, unit])
        connection.cursor().executemany(
            "INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [[flow, unit, *map(_storable, (x.record_key, x.reason, x.payload)), run_id] for x in letters],
        )


def units_with_dead_letters(connection: Connection, flow: str, units: Sequence[str]) -> set[str]:
    """Those of the flow's units that have any."""
    statement = "SELECT DISTINCT unit FROM analytics_pipeline.dead_letters WHERE flow = %s AND unit = ANY(%s)"
    return {unit for (unit,) in connection.execute(statement, [flow, list(units)])}


def _storable(text: str) -> str:
    # Postgres text cannot hold NUL, and UTF-8 cannot hold lone surrogates; a dead letter must always be storable.
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")
