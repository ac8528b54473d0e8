"""Views that make a database fit the source contract: a statement for each relation that does not."""

from collections.abc import Mapping

from psycopg import sql

from analytics_pipeline.flows.contract import COLUMNS, FoundColumn, Gap, found_columns, gaps
from analytics_pipeline.flows.source_types import Kind
from analytics_pipeline.resources.postgres import Postgres

SCHEMA = "analytics_views"
# Casts of a column `{0}` of another type to the needed one. For other types no cast is sure to be right.
_CASTS: Mapping[tuple[Kind, str], str] = {
    **{(Kind.KEY, type_): "{0}::bigint" for type_ in ("numeric", "real", "double precision", "text", "character")},
    **{(Kind.DAY, f"timestamp {zone} time zone"): "{0}::date" for zone in ("with", "without")},
    (Kind.NUMBER, "interval"): "date_part('epoch', {0})",
    (Kind.NUMBER, "boolean"): "{0}::integer::double precision",
    (Kind.NUMBER, "character"): "{0}::double precision",
    **{
        (kind, type_): cast
        for kind in (Kind.MOMENT, Kind.MOMENT_OR_DAY)
        for type_, cast in {
            "date": "{0}::timestamptz",
            "text": "{0}::timestamptz",
            "character": "{0}::timestamptz",
            **dict.fromkeys(
                ("integer", "bigint", "numeric", "double precision"), "to_timestamp({0}::double precision)"
            ),
        }.items()
    },
    **{(Kind.TEXT, type_): "{0}::text" for type_ in ("character", "enum", "smallint", "integer", "bigint", "uuid")},
    **{(Kind.TEXT, type_): "{0} #>> '{{}}'" for type_ in ("json", "jsonb")},
    **{(Kind.JSON, type_): "{0}::jsonb" for type_ in ("text", "character")},
    (Kind.BOOLEAN, "numeric"): "{0} <> 0",
    **{(Kind.BOOLEAN, f"timestamp {zone} time zone"): "{0} IS NOT NULL" for zone in ("with", "without")},
}


def view_statements(postgres: Postgres) -> list[str]:
    """SQL for an operator to read, complete and run: it is never run by us.

    For each relation with a gap a view in the schema `analytics_views`, which a setting then names. Columns of another
    type are cast. Where nothing is known to stand for a column, the statement names in angle brackets what is needed,
    and does not run before that is filled in.
    """
    found = found_columns(postgres, COLUMNS)
    wanted = [gap for gap in gaps(postgres) if gap.missing or gap.mistyped]
    statements = [_statement(postgres, gap, found[gap.relation]) for gap in wanted]
    return [f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};", *statements] if statements else []


def _statement(postgres: Postgres, gap: Gap, present: Mapping[str, FoundColumn]) -> str:
    view = sql.Identifier(SCHEMA, gap.relation).as_string()
    relation = "<the table that holds them>" if gap.is_absent else postgres.relation(gap.relation).as_string()
    columns = [_column(gap, name, present) for name in COLUMNS[gap.relation]]
    commas = [","] * (len(columns) - 1) + [""]
    lines = [
        f"    {value} AS {sql.Identifier(name).as_string()}{comma}{f' -- {comment}' if comment else ''}"
        for (name, value, comment), comma in zip(columns, commas, strict=True)
    ]
    setting = f"; -- and set SOURCE_{gap.relation.upper()}={SCHEMA}.{gap.relation}"
    return "\n".join([f"CREATE VIEW {view} AS SELECT", *lines, f"FROM {relation}", setting])


def _column(gap: Gap, name: str, present: Mapping[str, FoundColumn]) -> tuple[str, str, str]:
    """The column, the SQL that fills it, and what an operator has to know of it."""
    column, kind = sql.Identifier(name).as_string(), COLUMNS[gap.relation][name]
    if name not in present:
        similar = _similar(name, present)
        return (name, sql.Identifier(similar).as_string(), "") if similar else (name, f"<{kind.value}>", "is missing")
    type_ = present[name].type
    if all(name != one.column for one in gap.mistyped):
        return name, column, ""
    cast = _CASTS.get((kind, type_))
    return (name, cast.format(column), f"was {type_}") if cast else (name, f"<{kind.value}>", f"{column} is {type_}")


def _similar(name: str, present: Mapping[str, FoundColumn]) -> str | None:
    """A column whose name differs in nothing but letter case and underscores."""

    def bare(text: str) -> str:
        return text.replace("_", "").lower()

    return next((one for one in present if bare(one) == bare(name)), None)
