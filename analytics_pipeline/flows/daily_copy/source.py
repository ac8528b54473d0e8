"""Sources that are copied day by day: the rows of a relation that belong to a UTC day, and where they go."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.flows.held_tables import DayTable
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres

# Of a time stamp: what lies beyond the years that ClickHouse keeps, or at infinity, is unknown rather than wrong.
KNOWN_MOMENT: LiteralString = "CASE WHEN {0} >= '1900-01-01' AND {0} < '2299-12-31' THEN {0} END"


@dataclass(frozen=True)
class DaySource:
    """A relation of the application's Postgres and the ClickHouse table that holds a copy of it, day by day.

    `table` is `PARTITION BY` the SQL of `partition`, the UTC day of `day`, and has a column `id`. `columns` maps each
    of its columns to the SQL expression that fills it. `changed` moves whenever a row is written, and the column
    `change_column` holds it, where it is known. `refusal` is an SQL expression: NULL, or the reason why ClickHouse
    cannot hold the row; such rows become dead letters. The expressions see the relation under the alias `source`.

    `loss_column` of the table names what of a row could not be read though the row is kept; it is empty when nothing is
    lost. `key` are the columns by which the table's engine takes two rows for one; a source where that happens is read
    as `is_distinct`. `conversions` are all columns of the relation that are needed, as expressions over `original`,
    where not all of them can be read as they stand.
    """

    name: str
    relation: str
    table: str
    partition: str
    columns: Mapping[str, LiteralString]
    day: LiteralString
    changed: LiteralString
    change_column: str
    refusal: sql.Composable
    loss_column: str | None = None
    key: tuple[str, ...] = ()
    is_distinct: bool = False
    conversions: Mapping[str, sql.Composable] = field(default_factory=dict)

    @property
    def held(self) -> DayTable:
        """Where its days are held."""
        return DayTable(self.table, f"swap:{self.name}", self.partition, f"id, {quoted(self.change_column)}")

    @property
    def change(self) -> sql.SQL:
        """When a row changed, where it is known."""
        return sql.SQL(self.columns[self.change_column])

    @property
    def row(self) -> sql.Identifier:
        """The alias of the relation's rows as they stand."""
        return sql.Identifier("original" if self.conversions else "source")

    @property
    def key_values(self) -> sql.Composed:
        """Values that fill the columns of the key."""
        return sql.SQL(", ").join(sql.SQL(self.columns[column]) for column in self.key)

    @property
    def order_of_equals(self) -> sql.Composed:
        """By what the first of rows with the same key is told: always the same one."""
        return sql.SQL("{}, row_to_json({})::text").format(sql.SQL(self.day), self.row)

    def rows(self, postgres: Postgres, what: sql.Composable, condition: sql.Composable) -> sql.Composed:
        """`SELECT what` from the accepted rows where `condition` holds; of equal ones one when it `is_distinct`."""
        accepted = sql.SQL("({}) AND ({}) IS NULL").format(condition, self.refusal)
        if not self.is_distinct:
            return self.select(postgres, what, accepted)
        distinct = sql.SQL("DISTINCT ON ({}) {}").format(self.key_values, what)
        order = sql.SQL(" ORDER BY {}, {}").format(self.key_values, self.order_of_equals)
        return self.select(postgres, distinct, accepted) + order

    def select(self, postgres: Postgres, what: sql.Composable, condition: sql.Composable) -> sql.Composed:
        """`SELECT what` from all rows where `condition` holds, each as `source` with types that are needed."""
        relation = postgres.relation(self.relation)
        if not self.conversions:
            return sql.SQL("SELECT {} FROM {} AS source WHERE {}").format(what, relation, condition)
        columns = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in self.conversions.items()
        )
        statement = "SELECT {} FROM {} AS original CROSS JOIN LATERAL (SELECT {}) AS source WHERE {}"
        return sql.SQL(statement).format(what, relation, columns, condition)
