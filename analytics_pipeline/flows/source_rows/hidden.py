"""Rows of the source that Postgres hides from us without a word, because of row-level security."""

from collections.abc import Collection
from dataclasses import dataclass

from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file


@dataclass(frozen=True)
class Hiding:
    """A table whose row-level security applies to the role that reads it: behind which relation of the source."""

    relation: str
    table: str
    role: str

    def __str__(self) -> str:
        return (
            f"row-level security of {self.table} applies to {self.role}: rows that no policy shows are taken for absent"
        )

    @property
    def repair(self) -> str:
        """The statement that lets the role see all rows."""
        return f'ALTER ROLE "{self.role}" BYPASSRLS, or a policy that shows it all rows of {self.table}'


def hidden_rows(postgres: Postgres, relations: Collection[str]) -> list[Hiding]:
    """The tables behind these relations of the source of which Postgres may hide rows.

    A policy may well show all of them, which nobody can tell from outside: so this is a warning, and no refusal.
    """
    names = {postgres.relations[relation]: relation for relation in relations}
    rows = postgres.query(sql_file(__package__, "hidden.sql"), names=[*names])
    return [Hiding(names[name], table, role) for name, table, role in rows]
