"""The check's question: is anything stored of somebody who was forgotten. Nobody knows their names; hashes tell."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from psycopg import sql

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.erasure.figures import VALUES_OF_SETS
from analytics_pipeline.flows.erasure.forgotten import Forgotten, forgotten
from analytics_pipeline.flows.erasure.letters import names_forgotten
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE, POSTGRES, Named
from analytics_pipeline.flows.erasure.records import letters_of
from analytics_pipeline.flows.erasure.subjects import Kind, in_postgres
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Leftover:
    """A place with so many subjects of a kind, or dead letters of them, that should be gone."""

    place: str
    kind: str
    subjects: int


def leftovers(
    postgres: Postgres, clickhouse: ClickHouse, tables: Collection[str], letters: Collection[str] = ()
) -> Audited[list[Leftover]]:
    """Subjects that these tables of either store, and the dead letters of these flows, still name.

    Compared are those that were forgotten and that these places can name.
    """
    who = forgotten(postgres)
    # Tables that were kept by day once are not everywhere.
    there = {name for (name,) in clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase()")}
    own = {name: CLICKHOUSE[name] for name in tables if name in CLICKHOUSE and name in there}
    ours = {name: POSTGRES[name] for name in tables if name in POSTGRES}
    kinds = {kind for named in (*own.values(), *ours.values()) for kind in named.kinds if who.any_of(kind)}
    if not who.hashes:
        return Audited(0, [])
    found = [*_in_clickhouse(clickhouse, who, own), *_in_postgres(postgres, who, ours)]
    if dead := sum(names_forgotten(who, *one) for _, *one in letters_of(postgres, letters)):
        found.append(Leftover("postgres.dead_letters", "any", dead))
    return Audited(sum(len(who.hashes[kind]) for kind in kinds), found)


def _in_clickhouse(clickhouse: ClickHouse, who: Forgotten, tables: dict[str, Named]) -> Iterator[Leftover]:
    for name, named in tables.items():
        for kind, values in _looks(named):
            if not who.any_of(kind):
                continue
            condition, parameters = who.condition(kind, tuple(f"name_{place}" for place in range(len(values))))
            shown = ", ".join(f"{value} AS name_{place}" for place, value in enumerate(values))
            statement = f"SELECT count() FROM (SELECT DISTINCT {shown} FROM {quoted(name)}) WHERE {condition}"
            if count := clickhouse.scalar(statement, **parameters):
                yield Leftover(f"clickhouse.{name}", kind, count)


def _looks(named: Named) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    """Each kind with the expressions of its names."""
    yield from named.rows.items()
    yield from ((kind, (column,)) for kind, column in named.blanked.items())
    yield from ((kind, (f"arrayJoin({VALUES_OF_SETS.format(state)})",)) for kind, (state, _) in named.states.items())


def _in_postgres(postgres: Postgres, who: Forgotten, tables: dict[str, Named]) -> Iterator[Leftover]:
    with postgres.ledgers.connect() as connection:
        for name, named in tables.items():
            for kind, columns in named.rows.items():
                hashes = list(who.hashes.get(kind, ()))
                if not hashes:
                    continue
                statement = sql.SQL("SELECT count(*) FROM {} WHERE {} = ANY(%(hashes)s)").format(
                    sql.Identifier("analytics_pipeline", name), sql.SQL(in_postgres(kind, columns))
                )
                ((count,),) = connection.execute(statement, {"erasure_key": who.key, "hashes": hashes}).fetchall()
                if count:
                    yield Leftover(f"postgres.{name}", kind, count)
