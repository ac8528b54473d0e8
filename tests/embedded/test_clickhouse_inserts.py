"""Writing through the server: formats, compression, errors, bounded memory."""

import gzip
import time
import zlib
from collections.abc import Callable, Generator
from typing import Any

import pytest
import zstandard
from clickhouse_connect.driver.client import Client

from tests.embedded.clickhouse_harness import Server, temporary_table

lz4_frame: Any = pytest.importorskip("lz4.frame")
pa: Any = pytest.importorskip("pyarrow")

_TSV = b"".join(b"%d\tx%d\n" % (n, n) for n in range(50_000))
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4_frame.compress,
    "zstd": zstandard.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


def count(client: Client, table: str) -> Any:
    return client.command(f"SELECT count() FROM {table}")


def pieces(data: bytes, size: int = 10_000) -> Generator[bytes, None, None]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_insert__native_rows__are_all_there(clickhouse_server: Server, clickhouse_table: str, compress: Any) -> None:
    client = clickhouse_server.client(compress=compress)
    rows = [[n, f"x{n}"] for n in range(30_000)]

    client.insert(clickhouse_table, rows, ["a", "b"])

    found = client.query(f"SELECT count(), sum(a), max(b) FROM {clickhouse_table}").result_rows
    assert found == [(30_000, sum(range(30_000)), "x9999")]


def test_insert__arrow__is_there(clickhouse_client: Client, clickhouse_table: str) -> None:
    clickhouse_client.insert_arrow(clickhouse_table, pa.table({"a": pa.array([1, 2], pa.uint64()), "b": ["x", "y"]}))

    assert clickhouse_client.query(f"SELECT * FROM {clickhouse_table} ORDER BY a").result_rows == [(1, "x"), (2, "y")]


@pytest.mark.parametrize("body", [_TSV, _TSV.decode(), pieces], ids=["bytes", "text", "generator"])
def test_raw_insert__plain__is_there(clickhouse_client: Client, clickhouse_table: str, body: Any) -> None:
    block = body(_TSV) if callable(body) else body

    summary = clickhouse_client.raw_insert(clickhouse_table, ["a", "b"], block, fmt="TabSeparated")

    assert summary.written_rows == count(clickhouse_client, clickhouse_table) == 50_000


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("encoding", _COMPRESS)
def test_raw_insert__compressed_in_several_frames__is_there(
    clickhouse_client: Client, clickhouse_table: str, encoding: str, streamed: bool
) -> None:
    compress = _COMPRESS[encoding]
    half = _TSV.index(b"\n", len(_TSV) // 2) + 1
    body = compress(_TSV[:half]) + compress(_TSV[half:])

    block: Any = pieces(body, 1000) if streamed else body
    clickhouse_client.raw_insert(clickhouse_table, ["a", "b"], block, fmt="TabSeparated", compression=encoding)

    assert count(clickhouse_client, clickhouse_table) == 50_000


@pytest.mark.parametrize("encoding", _COMPRESS)
def test_raw_insert__cut_off_frame__leaves_no_rows(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str, encoding: str
) -> None:
    body = _COMPRESS[encoding](_TSV)[:-20]
    query = f"INSERT INTO analytics.{clickhouse_table} FORMAT TabSeparated"

    assert clickhouse_server.error(body, headers={"Content-Encoding": encoding}, query=query) == (500, "271")
    assert count(clickhouse_client, clickhouse_table) == 0


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("INSERT INTO {t} FORMAT TabSeparated", b"1\tx\n2\ty\n"),
        ("", b"INSERT INTO {t} FORMAT TabSeparated\n1\tx\n2\ty\n"),
        ("", b"/* FORMAT CSV */ insert into {t} (`a`, b) settings max_threads = 1 format TSV\r\n1\tx\n2\ty\n"),
        ("INSERT INTO {t} (a, b) VALUES", b"(1, 'x'), (1 + 1, 'y');"),
        ("", b"INSERT INTO {t} VALUES (1, 'x'), (2, lower('Y'))"),
        ("INSERT INTO {t} SELECT number + 1, ['x', 'y'][number + 1] FROM numbers(2)", b""),
        ("", b"INSERT INTO {t} (SELECT 1, 'x' UNION ALL SELECT 2, 'y')"),
        ("", b"INSERT INTO {t} WITH 2 AS n SELECT number + 1, if(number = 0, 'x', 'y') FROM numbers(n)"),
        ("", b'INSERT INTO {t} FORMAT JSONEachRow {"a": 1, "b": "x"} {"a": 2, "b": "y"}'),
    ],
)
def test_insert__every_way_to_write_it__inserts_the_same(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str, url: str, body: bytes
) -> None:
    answer = clickhouse_server.post(
        body.replace(b"{t}", clickhouse_table.encode()),
        query=url.replace("{t}", clickhouse_table),
        database="analytics",
    )

    assert (answer.status, answer.data) == (200, b"")
    found = clickhouse_client.query(f"SELECT * FROM {clickhouse_table} ORDER BY a").result_rows
    assert found == [(1, "x"), (2, "y")]


def test_insert__statement_in_tiny_pieces__is_understood(clickhouse_client: Client, clickhouse_table: str) -> None:
    statement = f"INSERT INTO {clickhouse_table} SETTINGS log_comment = 'a FORMAT b' FORMAT TabSeparated\n".encode()

    clickhouse_client.raw_insert("", insert_block=pieces(statement + b"1\tx\n2\ty\n", 1), fmt="TabSeparated")

    assert count(clickhouse_client, clickhouse_table) == 2


def test_insert__parameters_in_values__are_bound(clickhouse_client: Client, clickhouse_table: str) -> None:
    parameters = {"a": 5, "b": "it's"}

    clickhouse_client.command(
        f"INSERT INTO {clickhouse_table} VALUES ({{a:UInt64}}, {{b:String}})", parameters=parameters
    )

    assert clickhouse_client.query(f"SELECT * FROM {clickhouse_table}").result_rows == [(5, "it's")]


def test_insert__deduplication_token__drops_the_repeat(clickhouse_client: Client) -> None:
    settings = {"insert_deduplication_token": "batch-1"}
    with temporary_table(clickhouse_client) as table:
        clickhouse_client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 100")
        for _ in range(2):
            clickhouse_client.insert(table, [[1, "x"]], ["a", "b"], settings=settings)
        clickhouse_client.insert(table, [[1, "x"]], ["a", "b"], settings={"insert_deduplication_token": "batch-2"})

        assert count(clickhouse_client, table) == 2


@pytest.mark.parametrize(
    ("statement", "data", "code"),
    [
        ("INSERT INTO analytics.missing FORMAT TabSeparated", b"1\tx\n", "60"),
        ("INSERT INTO {t} (nope) FORMAT TabSeparated", b"1\n", "16"),
        ("INSERT INTO {t} FORMAT Nonsense", b"1\n", "73"),
        ("INSERT INTO {t} FORMAT TabSeparated", b"1\tx\nnot a number\tx\n", "27"),
        ("INSERT INTO {t} FORMAT TabSeparated", b"1\tx\n" * 100_000 + b"bad\tx\n", "27"),
        ("INSERT INTO {t} FORMAT Native", b"\x02\x05garbage", "33"),
    ],
)
def test_insert__wrong__names_the_error_and_leaves_no_rows(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str, statement: str, data: bytes, code: str
) -> None:
    query = statement.replace("{t}", f"analytics.{clickhouse_table}")

    assert clickhouse_server.error(data, query=query)[1] == code
    assert count(clickhouse_client, clickhouse_table) == 0
    assert clickhouse_server.post("SELECT 1").data == b"1\n"


def test_insert__error_before_a_large_body_ends__is_still_reported(clickhouse_client: Client) -> None:
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        clickhouse_client.raw_insert("missing", ["a"], pieces(b"1\n" * 20_000_000, 1_000_000), fmt="TabSeparated")


def test_insert__large_body__is_not_held_in_memory(clickhouse_server: Server, clickhouse_client: Client) -> None:
    line = b"1\t" + b"x" * 998 + b"\n"
    block, peak = line * 1000, [0]

    def rows() -> Generator[bytes, None, None]:
        for number in range(800):
            yield block
            if number % 20 == 0:
                peak[0] = max(peak[0], clickhouse_server.resident_bytes())

    with temporary_table(clickhouse_client) as table:
        before = clickhouse_server.resident_bytes()
        clickhouse_client.raw_insert(table, ["a", "b"], rows(), fmt="TabSeparated", settings=_SMALL_BLOCKS)

        assert count(clickhouse_client, table) == 800_000
    assert peak[0] - before < 600_000_000


# Blocks of 16 000 rows instead of a million, or the engine's own block would be most of what is measured.
_SMALL_BLOCKS = {
    "max_insert_block_size": 16_000,
    "min_insert_block_size_rows": 16_000,
    "input_format_parallel_parsing": 0,
}


@pytest.mark.parametrize("inline", [False, True])
def test_insert__longer_than_max_execution_time__is_an_error_and_not_a_success(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str, inline: bool
) -> None:
    """The engine answers with success, also with the number of rows, and stores nothing."""

    def slowly() -> Generator[bytes, None, None]:
        for number in range(8):
            time.sleep(0.2)
            yield b"%d\tx\n" % number

    settings = " SETTINGS max_execution_time = 1" if inline else ""
    query = f"INSERT INTO {clickhouse_table}{settings} FORMAT TabSeparated"
    limit = {} if inline else {"max_execution_time": "1"}

    answer = clickhouse_server.post(slowly(), query=query, database="analytics", **limit)

    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (408, "159")
    assert b"TIMEOUT_EXCEEDED" in answer.data
    assert count(clickhouse_client, clickhouse_table) == 0


def test_insert__computes_longer_than_max_execution_time__is_an_error(
    clickhouse_server: Server, clickhouse_client: Client
) -> None:
    """Here the engine even counts the rows as written."""
    with temporary_table(clickhouse_client, "a UInt64, b UInt64 DEFAULT sleepEachRow(0.01)") as table:
        query = f"INSERT INTO {table} (a) FORMAT TabSeparated"
        found = clickhouse_server.error(b"1\n" * 200, query=query, database="analytics", max_execution_time="1")

        assert found == (408, "159")
        assert count(clickhouse_client, table) == 0


@pytest.mark.parametrize("settings", [{"max_execution_time": "60"}, {"max_execution_time": "0"}, {}])
def test_insert__within_max_execution_time__is_there(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str, settings: dict[str, str]
) -> None:
    query = f"INSERT INTO {clickhouse_table} FORMAT TabSeparated"

    assert clickhouse_server.error(b"1\tx\n", query=query, database="analytics", **settings) == (200, None)
    assert count(clickhouse_client, clickhouse_table) == 1
