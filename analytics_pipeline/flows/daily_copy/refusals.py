"""Rows of a source that were not copied as they are, and why."""

from collections.abc import Iterator

from psycopg import sql

from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.resources.postgres import Connection, Postgres

# Of a day's rows this many are kept; all that were refused are counted.
DEAD_LETTERS_KEPT = 1_000
_TWIN = "another row has the same id at the same moment"


def dead_letters(
    connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable
) -> list[DeadLetter]:
    """Rows where `condition` holds: first those that were refused, then those that were kept without a part of them.

    Of the latter the reason begins with "kept without".
    """
    letters: list[DeadLetter] = []
    for statement in _statements(postgres, source, condition):
        limited = sql.SQL("{} LIMIT {}").format(statement, sql.Literal(DEAD_LETTERS_KEPT - len(letters)))
        letters += [DeadLetter(*row) for row in connection.execute(limited)]
    return letters


def _statements(postgres: Postgres, source: DaySource, condition: sql.Composable) -> Iterator[sql.Composed]:
    letter = sql.SQL("coalesce({row}.id::text, ''), {reason}, row_to_json({row})::text")
    order = sql.SQL(" ORDER BY {row}.id").format(row=source.row)
    refused = sql.SQL("({}) AND ({}) IS NOT NULL").format(condition, source.refusal)
    reason = sql.SQL("({})::text").format(source.refusal)
    yield source.select(postgres, letter.format(row=source.row, reason=reason), refused) + order
    accepted = sql.SQL("({}) AND ({}) IS NULL").format(condition, source.refusal)
    if source.is_distinct:
        yield _twins(postgres, source, accepted)
    if source.loss_column:
        loss = sql.SQL(source.columns[source.loss_column])
        lossy = sql.SQL("{} AND ({}) <> ''").format(accepted, loss)
        reason = sql.SQL("'kept without ' || ({}) || ': it cannot be read'").format(loss)
        yield source.select(postgres, letter.format(row=source.row, reason=reason), lossy) + order


def _twins(postgres: Postgres, source: DaySource, accepted: sql.Composable) -> sql.Composed:
    ranked = sql.SQL(
        "coalesce({row}.id::text, '') AS id, row_to_json({row})::text AS content,"
        " row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS nth"
    ).format(row=source.row, key=source.key_values, order=source.order_of_equals)
    statement = "SELECT id, {}::text, content FROM ({}) AS ranked WHERE nth > 1 ORDER BY id"
    return sql.SQL(statement).format(sql.Literal(_TWIN), source.select(postgres, ranked, accepted))
