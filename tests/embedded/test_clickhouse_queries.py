"""Reading through the server: formats, parameters, settings, errors, compression, the end of a query."""

import json
import threading
import time
import zlib
from typing import Any

import lz4.frame
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.embedded.clickhouse_harness import Server, wait_until

_LONG_QUERY = "SELECT count() FROM numbers(1e12) WHERE sipHash64(number) = 1"


def running(client: Client, text: str) -> int:
    """Returns how many queries with the text run, without the question itself."""
    return int(client.command(f"SELECT count() FROM system.processes WHERE position(query, '{text[:30]}') = 1"))


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


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM missing_table", 404, 60),
        ("SELECT FROM WHERE", 400, 62),
        ("gibberish", 400, 62),
        ("SELECT missing_column", 404, 47),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT {x:UInt8}", 500, 456),
        ("SELECT count() FROM numbers(1e12) SETTINGS max_execution_time = 0.2", 408, 159),
        ("SELECT 1 INTO OUTFILE 'x'", 501, 48),
        ("", 400, 62),
    ],
)
def test_error__before_the_first_row__has_its_code_and_status(
    clickhouse_server: Server, sql: str, status: int, code: int
) -> None:
    assert clickhouse_server.error(sql) == (status, str(code))


def test_error__in_the_client__names_code_and_version(clickhouse_client: Client) -> None:
    with pytest.raises(DatabaseError) as error:
        clickhouse_client.query("SELECT * FROM missing_table")

    assert (error.value.code, error.value.name) == (60, "UNKNOWN_TABLE")
    assert f"(version {clickhouse_client.server_version} (official build))" in str(error.value)


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_error__in_the_middle_of_a_stream__raises_stream_failure(clickhouse_server: Server, compress: Any) -> None:
    client = clickhouse_server.client(compress=compress)
    sql = "SELECT number, throwIf(number = 900000, 'too far') FROM numbers(1000000)"
    rows = 0

    with pytest.raises(StreamFailureError) as error, client.query_row_block_stream(sql) as blocks:
        for block in blocks:
            rows += len(block)

    assert (error.value.code, "too far" in str(error.value)) == (395, True)
    assert 0 < rows < 1_000_000


def test_error__when_the_client_waits_for_the_end__is_a_status(clickhouse_client: Client) -> None:
    with pytest.raises(DatabaseError) as error:
        clickhouse_client.query("SELECT number, throwIf(number = 900000) FROM numbers(1000000)")

    assert not isinstance(error.value, StreamFailureError)
    assert error.value.code == 395


@pytest.mark.parametrize(
    ("encoding", "decode"),
    [
        ("lz4", lz4.frame.decompress),
        ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("gzip", lambda data: zlib.decompress(data, 31)),
        ("deflate", zlib.decompress),
    ],
)
def test_compression__asked_for__is_one_frame_of_that_kind(
    clickhouse_server: Server, encoding: str, decode: Any
) -> None:
    sql = "SELECT number FROM numbers(100000)"
    plain = clickhouse_server.post(sql).data

    client = clickhouse_server.client(compress=encoding)
    raw = clickhouse_server.post(
        sql, headers={"Accept-Encoding": f"br, {encoding};q=1.0"}, enable_http_compression=1, wait_end_of_query=1
    )

    assert raw.headers["Content-Encoding"] == encoding
    assert (decode(raw.data) if encoding in ("lz4",) else raw.data) == plain
    assert len(client.query(sql).result_rows) == 100_000


def test_compression__not_asked_for__is_off(clickhouse_server: Server) -> None:
    answer = clickhouse_server.post("SELECT 1", headers={"Accept-Encoding": "gzip"})

    assert (answer.headers.get("Content-Encoding"), answer.data) == (None, b"1\n")


def test_summary__query_and_insert__count_rows_and_bytes(clickhouse_client: Client, clickhouse_table: str) -> None:
    written = clickhouse_client.insert(clickhouse_table, [[n, "x"] for n in range(1000)], ["a", "b"])
    selected = clickhouse_client.command(f"INSERT INTO {clickhouse_table} SELECT a + 1000, b FROM {clickhouse_table}")
    read = clickhouse_client.query(f"SELECT count() FROM {clickhouse_table} WHERE a >= 0")

    assert (written.written_rows, int(written.summary["written_bytes"]) > 0) == (1000, True)
    assert {k: selected.summary[k] for k in ("read_rows", "written_rows")} == {
        "read_rows": "1000",
        "written_rows": "1000",
    }
    assert {k: read.summary[k] for k in ("read_rows", "result_rows")} == {"read_rows": "2000", "result_rows": "1"}
    assert int(read.summary["elapsed_ns"]) > 0


def test_query_id__given__comes_back_and_cannot_run_twice(clickhouse_server: Server) -> None:
    answer = clickhouse_server.post("SELECT 1", query_id="my-id")
    bad = clickhouse_server.error("SELECT 1", query_id="a\r\nX-Injected: 1")

    assert answer.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert bad == (400, "36")


def test_kill_query__by_the_clients_id__ends_that_query_only(clickhouse_server: Server) -> None:
    admin, outcome = clickhouse_server.client(), {}

    def run(query_id: str) -> None:
        outcome[query_id] = clickhouse_server.error(_LONG_QUERY, query_id=query_id)

    threads = {name: threading.Thread(target=run, args=(name,)) for name in ("victim", "survivor")}
    for thread in threads.values():
        thread.start()
    assert wait_until(lambda: running(admin, _LONG_QUERY) == 2)
    twice = clickhouse_server.error("SELECT 1", query_id="victim")

    admin.command("KILL QUERY WHERE query_id = 'victim'")
    threads["victim"].join(10)
    left = running(admin, _LONG_QUERY)
    admin.command("KILL QUERY WHERE query_id = 'survivor'")
    threads["survivor"].join(10)

    assert twice == (500, "216")
    assert left == 1
    assert outcome == {"victim": (500, "394"), "survivor": (500, "394")}


def test_disconnect__during_a_select__cancels_it(clickhouse_server: Server, clickhouse_client: Client) -> None:
    impatient = clickhouse_server.client(send_receive_timeout=1, query_retries=0)

    with pytest.raises(Exception, match="timed out"):
        impatient.query(_LONG_QUERY)

    assert wait_until(lambda: running(clickhouse_client, _LONG_QUERY) == 0, 5)


def test_disconnect__during_a_stream__cancels_it(clickhouse_server: Server, clickhouse_client: Client) -> None:
    sql = "SELECT number, repeat('x', 100) FROM numbers(1e12)"

    stream = clickhouse_client.raw_stream(sql, fmt="TabSeparated")
    assert len(stream.read(1_000_000)) == 1_000_000
    other = clickhouse_server.client()
    assert running(other, sql) == 1
    stream.close()

    assert wait_until(lambda: running(other, sql) == 0, 5)


def test_stream__slow_reader_of_much_data__does_not_fill_the_servers_memory(clickhouse_server: Server) -> None:
    client = clickhouse_server.client()
    client.query("SELECT 1")
    before = clickhouse_server.resident_bytes()

    stream = client.raw_stream("SELECT repeat('x', 1000) FROM numbers(5000000)", fmt="TabSeparated")
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


@pytest.mark.parametrize(
    ("body", "params", "headers", "expected"),
    [
        (b"SELECT '" + b"x" * 3_000_000 + b"'", {}, {}, (400, "62")),
        (b"SELECT " + b"(" * 50_000 + b"1" + b")" * 50_000, {}, {}, (500, "306")),
        (b"SELECT 1 \0", {}, {}, (400, "62")),
        (b"SELECT \xff\xfe", {}, {}, (400, "62")),
        (b"SELECT 1", {"no_such_setting": "1"}, {}, (404, "115")),
        (b"SELECT 1", {"max_threads = 1, x": "1"}, {}, (404, "115")),
        (b"SELECT 1", {"max_threads": "1', readonly = '2"}, {}, (400, "27")),
        (b"SELECT 1", {"database": "nope`; DROP"}, {}, (404, "81")),
        (b"SELECT 1", {"compress": "1"}, {}, (501, "48")),
        (b"SELECT 1", {"role": "admin"}, {}, (404, "511")),
        (b"SELECT 1", {}, {"Content-Encoding": "zstd"}, (500, "271")),
        (b"SELECT 1", {}, {"Content-Encoding": "gzip"}, (500, "271")),
        (b"SELECT 1", {}, {"Content-Encoding": "lz4"}, (500, "271")),
        (b"SELECT 1", {}, {"Content-Encoding": "rot13"}, (501, "48")),
        (b"x", {}, {"Content-Type": "multipart/form-data"}, (400, "36")),
        (b"SELECT {x:UInt8}", {"param_x": "-1 OR 1"}, {}, (500, "457")),
        (b"SELECT 1", {"query_id": "x" * 300}, {}, (400, "36")),
        (b"/* never closed", {}, {}, (400, "62")),
        (b"-- nothing", {}, {}, (400, "62")),
    ],
)
def test_hostile__request__gets_an_error_and_the_server_goes_on(
    clickhouse_server: Server, body: bytes, params: dict[str, str], headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert clickhouse_server.error(body, headers=headers, **params) == expected
    assert clickhouse_server.post("SELECT 1").data == b"1\n"
