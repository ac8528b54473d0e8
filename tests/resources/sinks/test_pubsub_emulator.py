"""The Pub/Sub sink against Google's own emulator, where the machine has it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks.base import Delivery, Sink, SinkRefused
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.resources.sinks.records import batch

pubsub = pytest.importorskip("google.pubsub_v1", reason="pip install -e '.[pubsub]'")
grpc = pytest.importorskip("grpc")

PROJECT, START_SECONDS = "projects/export-test", 60
pytestmark = pytest.mark.slow


def emulator() -> Path | None:
    """The program that `gcloud beta emulators pubsub start` starts."""
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    home = Path(gcloud).resolve().parents[1]
    program = home / "platform" / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator"
    return program if program.exists() else None


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the emulator listens."""
    program = emulator()
    if program is None:
        pytest.skip("gcloud's Pub/Sub emulator is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("pubsub") / "log"
    with log.open("wb") as told:
        command = [str(program), "--host=127.0.0.1", f"--port={port}"]
        process = subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True)
    try:
        _await(port, log)
        yield f"127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(port: int, log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise AssertionError(f"the emulator has not started: {log.read_text()}")


@pytest.fixture
def channel(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield channel


def _opened(monkeypatch: pytest.MonkeyPatch, name: str, packed: str = "") -> Sink:
    monkeypatch.setenv("EXPORT_SINKS", f"topic=pubsub://{PROJECT.partition('/')[2]}/{name}{packed}")
    settings = Settings.load()
    return open_sink(settings.sinks[0], settings)


def _subscribed(channel: object, name: str) -> tuple[object, str]:
    """A topic and a subscription to it."""
    publisher = pubsub.PublisherClient(
        transport=pubsub.services.publisher.transports.PublisherGrpcTransport(channel=channel)
    )
    subscriber = pubsub.SubscriberClient(
        transport=pubsub.services.subscriber.transports.SubscriberGrpcTransport(channel=channel)
    )
    topic, subscription = f"{PROJECT}/topics/{name}", f"{PROJECT}/subscriptions/{name}"
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=subscription, topic=topic)
    return subscriber, subscription


def _received(subscriber: object, subscription: str, records: int) -> list[list[int]]:
    """The ids of the records of each message."""
    found: list[list[int]] = []
    while sum(map(len, found)) < records:
        answer = subscriber.pull(subscription=subscription, max_messages=1000, timeout=30)  # type: ignore[attr-defined]
        messages = answer.received_messages
        found += [[json.loads(line)["event_log_id"] for line in one.message.data.splitlines()] for one in messages]
        ids = [one.ack_id for one in messages]
        subscriber.acknowledge(subscription=subscription, ack_ids=ids)  # type: ignore[attr-defined]
    return found


def test_send__a_topic_of_the_emulator__has_each_record_in_a_message_of_its_own(
    channel: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber, subscription = _subscribed(channel, "single")
    sent = batch(1, 2_500)

    delivery = _opened(monkeypatch, "single").send(sent)

    received = _received(subscriber, subscription, 2_500)
    assert delivery == Delivery(len(sent.lines) - 2_500, ())
    assert sorted(received) == [[event_id] for event_id in sent.ids]


def test_send__packed__the_emulator_has_few_messages(channel: object, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriber, subscription = _subscribed(channel, "packed")
    sent = batch(1, 2_500)

    _opened(monkeypatch, "packed", "?packed=1").send(sent)

    received = _received(subscriber, subscription, 2_500)
    assert [event_id for ids in received for event_id in ids] == [*sent.ids]
    assert len(received) == 1


def test_check__the_emulator_has_no_such_topic__is_refused(channel: object, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = _opened(monkeypatch, "nowhere")

    with pytest.raises(SinkRefused, match="NotFound"):
        sink.check()
