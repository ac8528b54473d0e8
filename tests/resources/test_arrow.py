"""Arrow streams from a real Postgres: as of one snapshot, whole or an error, and gone when nobody wants them."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa
import pytest

from analytics_pipeline.resources.arrow import ArrowPart, arrow_stream, exported_snapshot
from analytics_pipeline.resources.postgres import Postgres
from tests.resources.harness import store_rows, wait_until_alone


class _Broken(Exception):
    """Work that fails."""


@contextmanager
def _arrow_stream(store: Postgres, statement: str) -> Iterator[Iterator[ArrowPart]]:
    """As of a snapshot that was exported before a fourth row was added."""
    with store.connect() as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = exported_snapshot(reader)
        with store.connect() as writer:
            writer.execute("INSERT INTO t VALUES (4)")
        with arrow_stream(store, statement, snapshot) as rows:
            yield rows


def test_arrow_stream__rows_committed_after_the_snapshot__are_not_seen(store: Postgres) -> None:
    store_rows(store, 3)

    with _arrow_stream(store, "SELECT a, NULLIF(a::text, '2') AS b FROM t ORDER BY a") as parts:
        found = list(parts)

    assert [part.rows for part in found] == [0, 3]
    assert _rows(found) == [{"a": 1, "b": "1"}, {"a": 2, "b": None}, {"a": 3, "b": "3"}]
    wait_until_alone(store)


def test_arrow_stream__no_rows__have_a_schema_all_the_same(store: Postgres) -> None:
    store_rows(store, 3)

    with _arrow_stream(store, "SELECT a FROM t WHERE false") as parts:
        (schema,) = parts

    assert schema.rows == 0
    assert pa.ipc.open_stream(schema.content).schema == pa.schema({"a": pa.int32()})


def test_arrow_stream__abandoned_on_the_way__does_not_wait_for_the_rest(store: Postgres) -> None:
    """A hundred million rows would take minutes, and one of them is being read when the work fails."""
    store_rows(store, 3)

    def work() -> None:
        with _arrow_stream(store, "SELECT generate_series(1, 100000000) AS a") as parts:
            assert [next(parts).rows, next(parts).rows > 0] == [0, True]
            raise _Broken

    with pytest.raises(_Broken):
        work()
    wait_until_alone(store)


def test_arrow_stream__server_ends_the_session__is_an_error_and_not_the_end_of_the_rows(store: Postgres) -> None:
    store_rows(store, 3)

    def work() -> None:
        with _arrow_stream(store, "SELECT generate_series(1, 100000000) AS a") as parts:
            assert [next(parts).rows, next(parts).rows > 0] == [0, True]
            store.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'COPY%%'"
            )
            for _ in parts:
                pass

    with pytest.raises(ConnectionError, match=r"Postgres stopped in the middle of a result: .*libpq"):
        work()


def test_arrow_stream__server_does_not_answer__says_so_without_credentials() -> None:
    gone = Postgres("postgresql://me:secret@127.0.0.1:1/app", {})

    with pytest.raises(ConnectionError) as refusal, arrow_stream(gone, "SELECT 1", "00000003-0000001B-1"):
        pass

    assert str(refusal.value) == (
        "Postgres at postgresql://127.0.0.1:1/app: the server does not answer. Check DATABASE_URL, then run:"
        " analytics-pipeline doctor"
    )


def _rows(parts: list[ArrowPart]) -> list[dict[str, object]]:
    stream = b"".join(part.content for part in parts)
    return [dict(row) for row in pa.ipc.open_stream(stream).read_all().to_pylist()]
