"""Servers end a request whose headers have no end, before anybody is asked for a token."""

import socket
import threading
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner

from analytics_pipeline.cli.ingest import ingest
from analytics_pipeline.cli.serve import serve


async def _app(scope: Any, _: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("command", [serve, ingest], ids=["serve", "ingest"])
def test_headers__without_an_end__are_not_kept(
    command: Any, monkeypatch: pytest.MonkeyPatch, stack_environment: dict[str, str]
) -> None:
    for name, value in stack_environment.items():
        monkeypatch.setenv(name, value)
    told: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda _, **options: told.update(options))
    assert CliRunner().invoke(command).exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(_app, http=told.get("http", "auto"), lifespan="off", log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        answer = _flooded(listener.getsockname())
        server.should_exit = True
        thread.join(timeout=10)

    assert answer.startswith(b"HTTP/1.1 400") or answer == b"reset"


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
