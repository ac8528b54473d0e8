"""Alerts reach the webhook as text, and a webhook that does not work never stops anybody nor shows its address."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from pydantic import SecretStr

from analytics_pipeline.config import Settings
from analytics_pipeline.flows import alerts
from analytics_pipeline.flows.alerts import LONGEST, alert

SECRET = "S3CRET"
LOGGER = "analytics_pipeline.flows.alerts"
Got = tuple[str, str, str | None, bytes]


@dataclass
class Webhook:
    """A server that answers with `status` and keeps what it got: method, path, content type and body."""

    port: int = 0
    status: int = 200
    location: str = ""
    reply: bytes | None = None
    got: list[Got] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return Settings(alert_webhook_url=SecretStr(f"http://127.0.0.1:{self.port}/{SECRET}"))


@contextmanager
def _served(webhook: Webhook) -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            webhook.got.append((self.command, self.path, self.headers["Content-Type"], body))
            if webhook.reply is not None:
                self.wfile.write(webhook.reply)
                return
            self.send_response(webhook.status)
            if webhook.location:
                self.send_header("Location", webhook.location)
            self.end_headers()

        do_GET = do_POST = _take  # noqa: N815 - the names that the library looks for

        def log_message(self, *_: object) -> None:
            """Be silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    webhook.port = server.server_port
    try:
        yield webhook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with _served(Webhook()) as served:
        yield served


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    assert SECRET not in caplog.text
    return caplog.record_tuples


def _refused(kind: str) -> list[tuple[str, int, str]]:
    message = f"the webhook at ALERT_WEBHOOK_URL did not take the alert: {kind}"
    return [(LOGGER, logging.ERROR, "text"), (LOGGER, logging.WARNING, message)]


def test_alert__webhook_takes_it__gets_the_text_as_json(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    text = 'Run "1" failed:\n100 % of ünits'

    alert(webhook.settings, text)

    ((method, path, content_type, body),) = webhook.got
    assert (method, path, content_type) == ("POST", f"/{SECRET}", "application/json")
    assert json.loads(body) == {"text": text}
    assert _logged(caplog) == [(LOGGER, logging.ERROR, text)]


def test_alert__no_webhook__is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    alert(Settings(alert_webhook_url=None), "text")

    assert _logged(caplog) == [(LOGGER, logging.ERROR, "text")]


def test_alert__very_long_text__is_cut(webhook: Webhook) -> None:
    alert(webhook.settings, "x" * (LONGEST + 1))

    assert [json.loads(body) for *_, body in webhook.got] == [{"text": "x" * LONGEST}]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_alert__webhook_answers_with_an_error__is_logged_without_its_address(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    webhook.status = status

    alert(webhook.settings, "text")

    assert (len(webhook.got), _logged(caplog)) == (1, _refused(f"HTTP status {status}"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_alert__webhook_redirects__is_not_followed(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with _served(Webhook()) as other:
        webhook.status, webhook.location = status, f"http://127.0.0.1:{other.port}/{SECRET}"
        alert(webhook.settings, "text")

    assert (len(webhook.got), other.got) == (1, [])
    assert _logged(caplog) == _refused(f"HTTP status {status}")


def test_alert__webhook_is_dead__is_logged_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        alert(Webhook(bound.getsockname()[1]).settings, "text")

    assert _logged(caplog) == _refused("it cannot be connected to")


def test_alert__webhook_never_answers__is_given_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alert(Webhook(silent.getsockname()[1]).settings, "text")

    assert _logged(caplog) == _refused("no answer within 0.2 s")


def test_alert__webhook_drips_its_answer__is_given_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time; all of them would take as long as the process lives."""
    monkeypatch.setattr(alerts, "SECONDS", 0.5)
    ended = Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not ended.wait(0.05):
                connection.sendall(b".")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=drip, args=(listener,))
        thread.start()
        begun = time.monotonic()
        alert(Webhook(listener.getsockname()[1]).settings, "text")
        ended.set()
        thread.join()

    assert time.monotonic() - begun < 30
    assert _logged(caplog) == _refused("no answer within 0.5 s")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(b"", "RemoteDisconnected"), (f"{SECRET}\r\n\r\n".encode(), "BadStatusLine")],
)
def test_alert__webhook_is_no_http_server__is_logged_without_its_answer(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, reply: bytes, kind: str
) -> None:
    webhook.reply = reply

    alert(webhook.settings, "text")

    assert _logged(caplog) == _refused(f"the connection was cut, or what answers is no HTTP server ({kind})")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/S3CRET with space", "http://S3CRET\x7f/", "http://[::1/S3CRET"]
)
def test_alert__address_cannot_be_used__is_logged_without_it(caplog: pytest.LogCaptureFixture, address: str) -> None:
    settings = Settings().model_copy(update={"alert_webhook_url": SecretStr(address)})

    alert(settings, "text")

    assert [record[:2] for record in _logged(caplog)] == [(LOGGER, logging.ERROR), (LOGGER, logging.WARNING)]
