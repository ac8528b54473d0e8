"""Who may use the server."""

import base64
import contextlib
import socket
import time

import pytest
import urllib3

from tests.embedded.clickhouse_harness import PASSWORD, Server


def _basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def _select(server: Server, headers: dict[str, str], query: str = "") -> tuple[int, str | None, bytes]:
    answer = urllib3.request("POST", f"{server.url}/?{query}", body=b"SELECT 1", headers=headers, retries=False)
    return answer.status, answer.headers.get("X-ClickHouse-Exception-Code"), answer.data


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (_basic(f"default:{PASSWORD}"), ""),
        (_basic(f":{PASSWORD}"), ""),
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}, ""),
        ({"X-ClickHouse-Key": PASSWORD}, ""),
        ({}, "user=default&password=correct%20horse"),
    ],
)
def test_login__right_password__is_accepted(clickhouse_server: Server, headers: dict[str, str], query: str) -> None:
    assert _select(clickhouse_server, headers, query) == (200, None, b"1\n")


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "", 401),
        (_basic("default:wrong"), "", 403),
        (_basic(f"root:{PASSWORD}"), "", 403),
        (_basic("default"), "", 403),
        ({"Authorization": "Basic !!!"}, "", 403),
        ({"Authorization": "Basic /////w=="}, "", 403),
        ({"Authorization": "Bearer token"}, "", 401),
        ({"X-ClickHouse-User": "default"}, "", 403),
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""} | _basic(f"default:{PASSWORD}"), "", 403),
        ({}, "user=default&password=%FF", 403),
    ],
)
def test_login__anything_else__is_refused_without_the_password(
    clickhouse_server: Server, headers: dict[str, str], query: str, status: int
) -> None:
    answer = _select(clickhouse_server, headers, query)

    assert answer[:2] == (status, "516")
    assert b"AUTHENTICATION_FAILED" in answer[2]
    assert PASSWORD.encode() not in answer[2]


def test_login__refused_with_a_large_body__still_gets_its_answer(clickhouse_server: Server) -> None:
    answer = urllib3.request(
        "POST", clickhouse_server.url, body=b"x" * 20_000_000, headers=_basic("default:wrong"), retries=False
    )

    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")


def test_half_requests__without_a_password__lock_nobody_out(clickhouse_server: Server) -> None:
    """More than there are threads: heads that never end, and bodies that never come."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    halves = [head, head + b"Content-Length: 100\r\n\r\nSELECT", head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nSEL"]
    with contextlib.ExitStack() as held:
        connections = [
            held.enter_context(socket.create_connection(("127.0.0.1", clickhouse_server.port))) for _ in range(120)
        ]
        for number, connection in enumerate(connections):
            connection.sendall(halves[number % len(halves)])
        time.sleep(0.5)

        answer = urllib3.request(
            "POST",
            clickhouse_server.url,
            body=b"SELECT 1",
            headers=_basic(f"default:{PASSWORD}"),
            retries=False,
            timeout=3,
        )

        assert (answer.status, answer.data) == (200, b"1\n")
        # Those whose head came get their answer, and no connection is kept.
        for number, connection in enumerate(connections[:6]):
            connection.settimeout(20)
            received = b"".join(iter(lambda one=connection: one.recv(65_536), b""))  # type: ignore[misc]
            assert (b"516" in received) is (number % len(halves) > 0)
