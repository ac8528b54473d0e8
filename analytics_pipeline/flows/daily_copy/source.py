"""What can be copied day by day: the rows of a source relation that belong to a UTC day, and where they go."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.resources.postgres import Postgres

# Of a time stamp: what lies beyond the years that ClickHouse keeps, or at infinity, is unknown rather than wrong.
KNOWN_MOMENT: LiteralString = "CASE WHEN {0} >= '1900-01-01' AND {0} < '2299-12-31' THEN {0} END"


@dataclass(frozen=True)
class DaySource:
    """A relation of the application's Postgres and the ClickHouse table that holds a copy of it, day by day.

    `table` is `PARTITION BY` the UTC day of `day`. `columns` maps each of its columns to the SQL expression that fills
    it. `changed` moves whenever a row is written, and the column `change_column` holds it, where it is known. `refusal`
    is an SQL expression: NULL, or the reason why ClickHouse cannot hold the row; such rows become dead letters. The
    expressions see the relation under the alias `source`.
    """

    name: str
    relation: str
    table: str
    columns: Mapping[str, LiteralString]
    day: LiteralString
    changed: LiteralString
    change_column: str
    refusal: sql.Composable = field(default_factory=lambda: sql.SQL("NULL::text"))

    @property
    def change(self) -> sql.SQL:
        """When a row changed, where it is known."""
        return sql.SQL(self.columns[self.change_column])

    def rows(
        self, postgres: Postgres, what: sql.Composable, condition: sql.Composable, *, refused: bool = False
    ) -> sql.Composed:
        """`SELECT what` from the accepted rows, or the refused ones, where `condition` holds."""
        return sql.SQL("SELECT {} FROM {} AS source WHERE ({}) AND ({}) IS {}").format(
            what,
            postgres.relation(self.relation),
            condition,
            self.refusal,
            sql.SQL("NOT NULL" if refused else "NULL"),
        )
