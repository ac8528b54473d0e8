"""Reading through the server: formats, parameters, settings, compression, the log."""

import json
import time
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.embedded.clickhouse_harness import Server


def test_query__several_types__returns_python_values(clickhouse_client: Client) -> None:
    sql = "SELECT 1 AS a, 'x' AS b, [1, NULL] AS c, toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC')::String AS d"

    result = clickhouse_client.query(sql)

    assert result.column_names == ("a", "b", "c", "d")
    assert result.result_rows == [(1, "x", [1, None], "2026-01-02 03:04:05.678")]


def test_query__no_rows__keeps_the_columns_of_a_limit_0(clickhouse_client: Client) -> None:
    assert clickhouse_client.query("SELECT 1 AS a, 'x' AS b LIMIT 0").column_names == ("a", "b")
    assert clickhouse_client.query("SELECT number FROM numbers(0)").result_rows == []


@pytest.mark.parametrize(
    "sql", ["SHOW TABLES FROM system LIKE 'one'", "SELECT name FROM system.tables WHERE name = 'one'"]
)
def test_query__statement_that_cannot_stream__answers_the_same(clickhouse_client: Client, sql: str) -> None:
    assert clickhouse_client.query(sql).result_rows == [("one",)]


def test_stream__a_million_rows__arrive_in_blocks(clickhouse_client: Client) -> None:
    with clickhouse_client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        sums = [sum(row[0] for row in block) for block in blocks]

    assert len(sums) > 10
    assert sum(sums) == 499_999_500_000


def test_arrow__many_blocks_and_none__are_one_stream_each(clickhouse_client: Client) -> None:
    table = clickhouse_client.query_arrow("SELECT number AS n, toString(number) AS s FROM numbers(200000)")
    empty = clickhouse_client.query_arrow("SELECT number AS n FROM numbers(0)")

    assert (table.num_rows, table["n"][199_999].as_py(), table["s"][70_000].as_py()) == (200_000, 199_999, "70000")
    assert (empty.num_rows, empty.column_names) == (0, ["n"])


def test_format__document_with_many_blocks__is_one_document(clickhouse_server: Server) -> None:
    json_answer = json.loads(clickhouse_server.post("SELECT number FROM numbers(150000) FORMAT JSONCompact").data)
    csv_answer = clickhouse_server.post("SELECT number AS n FROM numbers(150000)", default_format="CSVWithNames").data
    totals = clickhouse_server.post(
        "SELECT number % 2 AS k, count() FROM numbers(4) GROUP BY k WITH TOTALS ORDER BY k"
    ).data

    assert (json_answer["rows"], json_answer["data"][-1]) == (150_000, [149999])
    assert csv_answer.splitlines().count(b'"n"') == 1
    assert totals == b"0\t2\n1\t2\n\n0\t4\n"


@pytest.mark.parametrize("form", [False, True])
def test_parameters__url_or_form__are_bound_by_type(clickhouse_server: Server, form: bool) -> None:
    client = clickhouse_server.client(form_encode_query_params=form)
    values = {"s": "it's\ta \\ \u00fc\n'", "n": [1, 2], "t": "one", "o": None}
    sql = "SELECT {s:String}, {n:Array(UInt8)}, {o:Nullable(String)}, count() FROM system.{t:Identifier}"

    result = client.query(sql, parameters=values)

    assert result.result_rows[0][:3] == ("it's\ta \\ \u00fc\n'", [1, 2], None)


def test_parameters__long_query__travels_as_a_form(clickhouse_client: Client) -> None:
    many = list(range(20_000))

    result = clickhouse_client.query("SELECT length({many:Array(UInt32)})", parameters={"many": many})

    assert result.result_rows == [(20_000,)]


def test_settings__of_one_request__do_not_reach_the_next(clickhouse_server: Server) -> None:
    sql = "SELECT getSetting('max_threads'), getSetting('max_block_size'), getSetting('log_comment')"
    settings = {"max_threads": "7", "max_block_size": "1234", "log_comment": "it's \\ mine"}
    before = clickhouse_server.post(sql).data

    during = clickhouse_server.post(sql, **settings).data
    failed = clickhouse_server.error(sql, **{**settings, "max_rows_to_read": "many"})
    after = [clickhouse_server.post(sql).data for _ in range(5)]

    assert during == b"7\t1234\tit\\'s \\\\ mine\n"
    assert failed == (400, "27")
    assert after == [before] * 5


def test_settings__set_use_and_temporary_table_without_a_session__leave_nothing(clickhouse_server: Server) -> None:
    sql = (
        "SELECT getSetting('max_block_size'), currentDatabase(), (SELECT count() FROM system.tables WHERE is_temporary)"
    )
    before = clickhouse_server.post(sql).data

    for statement in (
        "SET max_block_size = 99",
        "USE system",
        "CREATE TEMPORARY TABLE gone (a UInt8)",
        "SET readonly = 1",
    ):
        assert clickhouse_server.post(statement).status == 200

    assert [clickhouse_server.post(sql).data for _ in range(5)] == [before] * 5
    assert clickhouse_server.post("CREATE TABLE analytics.writable (a UInt8) ENGINE = Memory").status == 200
    assert clickhouse_server.post("DROP TABLE analytics.writable").status == 200


def test_readonly__request_that_writes__is_refused_and_the_next_may_write(
    clickhouse_server: Server, clickhouse_table: str
) -> None:
    insert = f"INSERT INTO analytics.{clickhouse_table} VALUES (1, 'x')"
    refused = [
        clickhouse_server.error(insert, readonly=2),
        clickhouse_server.error(f"INSERT INTO analytics.{clickhouse_table} SELECT 1, 'x'", readonly=2),
        clickhouse_server.error(f"DROP TABLE analytics.{clickhouse_table}", readonly=1),
        clickhouse_server.error("SYSTEM FLUSH LOGS", readonly=2),
        clickhouse_server.error(None, method="GET", query=insert),
    ]

    assert refused == [(500, "164")] * 5
    assert clickhouse_server.post(f"SELECT count() FROM analytics.{clickhouse_table}", readonly=2).data == b"0\n"
    assert clickhouse_server.post(insert).status == 200


def test_readonly__client_for_reading__reads(clickhouse_server: Server) -> None:
    client = clickhouse_server.client(settings={"readonly": 2})

    assert client.query("SELECT 1", settings={"max_threads": 1}).result_rows == [(1,)]
    with pytest.raises(DatabaseError) as error:
        client.command("CREATE TABLE never (a UInt8) ENGINE = Memory")
    assert error.value.code == 164


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_compression__asked_for__is_of_that_kind(clickhouse_server: Server, encoding: str) -> None:
    sql, accepted = "SELECT number FROM numbers(100000)", {"Accept-Encoding": f"br, {encoding};q=1.0"}

    answer = clickhouse_server.post(sql, headers=accepted, enable_http_compression=1)
    rows = clickhouse_server.client(compress=encoding).query(sql).result_rows

    # urllib3 has decompressed everything but lz4.
    text = pytest.importorskip("lz4.frame").decompress(answer.data) if encoding == "lz4" else answer.data
    assert answer.headers["Content-Encoding"] == encoding
    assert text == clickhouse_server.post(sql).data
    assert rows == [(number,) for number in range(100_000)]


def test_compression__not_asked_for__is_off(clickhouse_server: Server) -> None:
    answer = clickhouse_server.post("SELECT 1", headers={"Accept-Encoding": "gzip"})

    assert (answer.headers.get("Content-Encoding"), answer.data) == (None, b"1\n")


def test_summary__query_and_insert__count_rows_and_bytes(clickhouse_client: Client, clickhouse_table: str) -> None:
    written = clickhouse_client.insert(clickhouse_table, [[n, "x"] for n in range(1000)], ["a", "b"])
    selected: Any = clickhouse_client.command(
        f"INSERT INTO {clickhouse_table} SELECT a + 1000, b FROM {clickhouse_table}"
    )
    read = clickhouse_client.query(f"SELECT count() FROM {clickhouse_table} WHERE b = 'x'")

    assert (written.written_rows, int(written.summary["written_bytes"]) > 0) == (1000, True)
    assert {k: selected.summary[k] for k in ("read_rows", "written_rows")} == {
        "read_rows": "1000",
        "written_rows": "1000",
    }
    assert {k: read.summary[k] for k in ("read_rows", "result_rows")} == {"read_rows": "2000", "result_rows": "1"}
    assert int(read.summary["elapsed_ns"]) > 0


def test_stream__slow_reader_of_much_data__does_not_fill_the_servers_memory(clickhouse_server: Server) -> None:
    client = clickhouse_server.client()
    client.query("SELECT 1")
    before = clickhouse_server.resident_bytes()

    stream: Any = client.raw_stream("SELECT repeat('x', 1000) FROM numbers(5000000)", fmt="TabSeparated")
    stream.read(1000)
    time.sleep(1)
    grown = clickhouse_server.resident_bytes() - before
    stream.close()

    assert grown < 1_500_000_000


def test_log_comment__after_flush__finds_the_query(clickhouse_client: Client) -> None:
    comment = "analytics_pipeline:test:step:run_1"

    clickhouse_client.query("SELECT 42 AS answer", settings={"log_comment": comment})
    clickhouse_client.command("SYSTEM FLUSH LOGS")
    found = clickhouse_client.query(
        "SELECT type, startsWith(query, 'SELECT 42 AS answer'), result_rows FROM system.query_log "
        "WHERE log_comment = {comment:String} AND type = 'QueryFinish' AND query_kind = 'Select'",
        parameters={"comment": comment},
    )

    assert found.result_rows == [("QueryFinish", 1, 1)]
