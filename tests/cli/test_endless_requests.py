"""Servers end a request that does not end, of headers or in drops, before anybody is asked for a token."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner

from analytics_pipeline.api import punctual
from analytics_pipeline.cli.ingest import ingest
from analytics_pipeline.cli.serve import serve


async def _app(_: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(params=[serve, ingest], ids=["serve", "ingest"])
def served(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, stack_environment: dict[str, str]
) -> Iterator[tuple[str, int]]:
    """The address of an application that the command's server serves."""
    for name, value in stack_environment.items():
        monkeypatch.setenv(name, value)
    told: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda _, **options: told.update(options))
    assert CliRunner().invoke(request.param).exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            _app,
            http=told.get("http", "auto"),
            timeout_keep_alive=told["timeout_keep_alive"],
            lifespan="off",
            log_level="error",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()
        server.should_exit = True
        thread.join(timeout=10)


def test_headers__without_an_end__are_not_kept(served: tuple[str, int]) -> None:
    answer = _flooded(served)

    assert answer.startswith(b"HTTP/1.1 400") or answer == b"reset"


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\nx: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"],
    ids=["nothing", "headers", "body"],
)
def test_requests__in_drops__end_in_time(
    served: tuple[str, int], begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(punctual, "REQUEST_SECONDS", 0.4)

    assert _dripped(served, begun)


def test_requests__one_after_the_other__have_a_time_each(
    served: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(punctual, "REQUEST_SECONDS", 0.4)
    with socket.create_connection(served, timeout=5) as connection:
        for _ in range(4):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            threading.Event().wait(0.2)


def _dripped(address: tuple[str, int], begun: bytes) -> bool:
    """Whether the server ends a connection on which a byte comes now and then."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(begun)
        connection.settimeout(0.1)
        for _ in range(40):
            try:
                connection.sendall(b"a" if begun else b"")
                if connection.recv(1000) == b"":
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
    return False


def _flooded(address: tuple[str, int]) -> bytes:
    """What comes back on 4 MB of headers; b"" while the server still waits for more."""
    with socket.create_connection(address, timeout=5) as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            for _ in range(64):
                connection.sendall(b"x: " + b"y" * 65_000 + b"\r\n")
            connection.settimeout(1)
            return connection.recv(1000)
        except TimeoutError:
            return b""
        except OSError:
            return b"reset"
