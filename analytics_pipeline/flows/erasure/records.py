"""Records in Postgres: rows of our ledgers that are the subject's, and dead letters that name it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from analytics_pipeline.flows.erasure.letters import FLOWS, subjects_of
from analytics_pipeline.flows.erasure.naming import POSTGRES
from analytics_pipeline.flows.erasure.steps import Found, Step, Work
from analytics_pipeline.resources.postgres import Postgres

_AT_ONCE = 1_000


def of_ledgers(work: Work) -> list[Step]:
    """The steps of the ledgers that can name the target; tokens end with their rows."""
    return [
        _Ledger(work, name).step() for name, named in POSTGRES.items() if work.target.in_postgres(named) is not None
    ]


@dataclass(frozen=True)
class _Ledger:
    work: Work
    name: str

    def step(self) -> Step:
        return Step(f"postgres.{self.name}", "removed", self._look, self._remove)

    def _look(self) -> Found:
        with self.work.stores.postgres.ledgers.connect() as connection:
            ((rows,),) = connection.execute(*self._statement("SELECT count(*) FROM {} WHERE {}")).fetchall()
        return Found(rows)

    def _remove(self, _: Sequence[date]) -> None:
        if self.name == "enablements":
            self.work.wait_for("enablement")
        with self.work.stores.postgres.ledgers.connect() as connection:
            connection.execute(*self._statement("DELETE FROM {} WHERE {}"))

    def _statement(self, text: str) -> tuple[sql.Composed, list[object]]:
        found = self.work.target.in_postgres(POSTGRES[self.name])
        assert found is not None
        condition, values = found
        return sql.SQL(text).format(sql.Identifier("analytics_pipeline", self.name), condition), values


def of_dead_letters(work: Work) -> Step:
    """The step of all flows' dead letters."""

    def look() -> Found:
        return Found(len(list(_naming(work))))

    def remove(_: Sequence[date]) -> None:
        ids = list(_naming(work))
        with work.stores.postgres.ledgers.connect() as connection:
            connection.execute("DELETE FROM analytics_pipeline.dead_letters WHERE id = ANY(%s)", [ids])

    return Step("postgres.dead_letters", "removed", look, remove)


def _naming(work: Work) -> Iterator[int]:
    """The ids of the dead letters that name the target."""
    wanted = {(one.kind, one.names) for one in work.target.all}
    for id_, *letter in letters_of(work.stores.postgres, FLOWS):
        if any((one.kind, one.names) in wanted for one in subjects_of(*letter)):
            yield id_


def letters_of(postgres: Postgres, flows: Collection[str]) -> Iterator[tuple[int, str, str, str, str]]:
    """The flows' dead letters, a thousand at a time: id, flow, unit, record key and payload."""
    last = 0
    while rows := postgres.query(_LETTERS, after=last, flows=list(flows), most=_AT_ONCE):
        yield from rows
        last = rows[-1][0]


_LETTERS = """
    SELECT id, flow, unit, record_key, payload FROM analytics_pipeline.dead_letters
    WHERE id > %(after)s AND flow = ANY(%(flows)s) ORDER BY id LIMIT %(most)s
"""
