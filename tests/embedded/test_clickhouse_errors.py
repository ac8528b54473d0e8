"""Errors: their codes and statuses, in the middle of a stream, and for requests that no good client sends."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.embedded.clickhouse_harness import Server


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
    sizes: list[int] = []

    with client.query_row_block_stream(sql) as blocks, pytest.raises(StreamFailureError) as error:
        sizes.extend(len(block) for block in blocks)

    assert (error.value.code, "too far" in str(error.value)) == (395, True)
    assert 0 < sum(sizes) < 1_000_000


def test_error__when_the_client_waits_for_the_end__is_a_status(clickhouse_client: Client) -> None:
    with pytest.raises(DatabaseError) as error:
        clickhouse_client.query("SELECT number, throwIf(number = 900000) FROM numbers(1000000)")

    assert not isinstance(error.value, StreamFailureError)
    assert error.value.code == 395


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
