"""A throttled environment is tried for a limited time, and slows no other one down."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.failures import passes, reason_of
from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.resources.dynamodb import identities_table

THROTTLED = {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slower"}
PAGES = 50


class _Handler(BaseHTTPRequestHandler):
    """Never has capacity for the environment `busy`; any other has so many empty pages."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name that the library looks for
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        busy = asked["ExpressionAttributeValues"][":environment"]["S"] == "busy"
        page = int(asked.get("ExclusiveStartKey", {"page": {"N": "0"}})["page"]["N"]) + 1
        more = {"LastEvaluatedKey": {"page": {"N": str(page)}}} if page < PAGES else {}
        answer = json.dumps(THROTTLED if busy else {"Items": [], **more}).encode()
        self.send_response(400 if busy else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, float]]]:
    """A DynamoDB that throttles; yields which thread would have slept for how long."""
    made: list[tuple[str, float]] = []
    # A test before this one may have given up a thread that still asks a server of its own.
    others = set(threading.enumerate()) - {threading.current_thread()}

    def nap(seconds: float) -> None:
        if threading.current_thread() not in others:
            made.append((threading.current_thread().name, seconds))

    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=nap))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in (
        ("AWS_ENDPOINT_URL_DYNAMODB", address),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("IDENTITIES_TABLE", "identities"),
        ("LANDING_URL", "file:///tmp/landing"),
    ):
        monkeypatch.setenv(name, value)
    try:
        yield made
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_pages__one_environment_is_throttled_for_ever__fails_alone_after_ten_more_attempts(
    slept: list[tuple[str, float]],
) -> None:
    reader = QueryReader(identities_table(Settings.load()))
    errors: list[Exception] = []

    def busy() -> None:
        try:
            list(reader.pages("busy"))
        except ClientError as error:
            errors.append(error)

    thread = threading.Thread(target=busy, name="busy")
    thread.start()
    pages = list(reader.pages("quiet"))
    thread.join()

    assert pages == [[]] * PAGES
    assert {name for name, _ in slept} == {"busy"}
    assert len(slept) == 10
    assert sum(seconds for _, seconds in slept) <= 10 * 20
    (error,) = errors
    assert passes(error)
    assert reason_of(error).startswith("AWS: ProvisionedThroughputExceededException: ")
