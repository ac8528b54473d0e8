"""A source as the database at hand has it: columns of another type are converted, or the copy is refused beforehand."""

from collections.abc import Mapping
from dataclasses import replace

from psycopg import sql

from analytics_pipeline.flows.contract import COLUMNS, FoundColumn, found_columns, mistyped, reading, refuse
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.source_types import Reading
from analytics_pipeline.resources.postgres import Postgres


def as_found(postgres: Postgres, source: DaySource) -> DaySource:
    """The source with what its relation's types need: as it is when all are those that ClickHouse's columns have.

    A value that does not fit refuses its row. Columns that are missing are left for the statements to name.

    Raises:
        WrongTypes: of some columns no value can be read.
    """
    found = found_columns(postgres, [source.relation])[source.relation]
    refuse(postgres, {source.relation: mistyped(source.relation, found)})
    readings = _readings(source.relation, found)
    if not any(one.cast for one in readings.values()):
        return source
    refusal = sql.SQL("coalesce({}, {})").format(_misfit(readings, found), source.refusal)
    conversions = {column: _value(column, one) for column, one in readings.items()}
    return replace(source, refusal=refusal, conversions=conversions)


def _readings(relation: str, found: Mapping[str, FoundColumn]) -> dict[str, Reading]:
    ones = {column: reading(relation, column, found[column].type) for column in COLUMNS[relation] if column in found}
    return {column: one for column, one in ones.items() if one}


def _value(column: str, one: Reading) -> sql.Composed:
    return sql.SQL(one.cast or "{0}").format(sql.Identifier("original", column))


def _misfit(readings: Mapping[str, Reading], found: Mapping[str, FoundColumn]) -> sql.Composable:
    """Why the row's values do not all fit, NULL when they do. It is asked first: nothing is cast before it."""
    cases = [
        sql.SQL("WHEN NOT {} THEN {}").format(
            sql.SQL(one.fits).format(sql.Identifier("original", column)),
            sql.Literal(f"{column} ({found[column].type}) is {one.misfit}"),
        )
        for column, one in readings.items()
        if one.fits
    ]
    return sql.SQL("CASE {} END").format(sql.SQL(" ").join(cases)) if cases else sql.SQL("NULL::text")
