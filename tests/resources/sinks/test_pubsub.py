"""The Pub/Sub sink: Google's own client against a publisher of gRPC in this process."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks import pubsub as module
from analytics_pipeline.resources.sinks.base import Delivery, Refusal, Sink, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.messages import Limits
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.resources.sinks.records import ASKS, batch, batch_of, record

grpc = pytest.importorskip("grpc")
pubsub = pytest.importorskip("google.pubsub_v1", reason="pip install -e '.[pubsub]'")

TOPIC = "projects/project/topics/topic"
SECRET = "S3CRET-of-a-record"


@dataclass
class Service:
    """A topic. `fails` gives a status for a request's records, or None when they are taken."""

    fails: Callable[[list[int]], Any] = lambda _: None
    topics: tuple[str, ...] = (TOPIC,)
    asked: list[list[int]] = field(default_factory=list)
    messages: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: Event = field(default_factory=Event)

    def publish(self, request: Any, context: Any) -> Any:
        texts = [message.data.decode() for message in request.messages]
        ids = [json.loads(line)["event_log_id"] for text in texts for line in text.split("\n")]
        self.asked.append(ids)
        self._judge(request.topic, ids, context)
        self.messages += [(message.data.decode(), dict(message.attributes)) for message in request.messages]
        return pubsub.PublishResponse(message_ids=[str(number) for number in range(len(texts))])

    def get_topic(self, request: Any, context: Any) -> Any:
        self._judge(request.topic, [], context)
        return pubsub.Topic(name=request.topic)

    def _judge(self, topic: str, ids: list[int], context: Any) -> None:
        status = self.fails(ids) if topic in self.topics else grpc.StatusCode.NOT_FOUND
        if status is not None:
            context.abort(status, SECRET)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    served = Service()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=kind.deserialize, response_serializer=answer.serialize
        )
        for name, method, kind, answer in [
            ("Publish", served.publish, pubsub.PublishRequest, pubsub.PublishResponse),
            ("GetTopic", served.get_topic, pubsub.GetTopicRequest, pubsub.Topic),
        ]
    }
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, options=[("grpc.max_receive_message_length", 10_000_000)])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        yield served
        served.closing.set()
        server.stop(None).wait()


def _opened(query: str = "", topic: str = "topic") -> Sink:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPORT_SINKS", "")
        if query or topic != "topic":
            patch.setenv("EXPORT_SINKS", f"google=pubsub://project/{topic}{query}")
        else:
            patch.setenv("EXPORT_USAGE_DATA_TOPIC_NAME", topic)
            patch.setenv("EXPORT_USAGE_DATA_TOPIC_PROJECT", "project")
        settings = Settings.load()
    return open_sink(settings.sinks[0], settings)


def test_send__records__are_a_message_each(service: Service) -> None:
    sent = batch(1, 25)
    sink = _opened()

    delivery = sink.send(sent)
    sink.close()

    assert service.messages == [(line, {}) for line in sent.lines.decode().splitlines()]
    assert (delivery, len(service.asked)) == (Delivery(len(sent.lines) - 25), 1)


def test_send__more_than_a_request_takes__goes_in_several(service: Service) -> None:
    assert _opened().send(batch(1, 2_500)).refused == ()

    assert [len(ids) for ids in service.asked] == [1_000, 1_000, 500]
    assert [number for ids in service.asked for number in ids] == [*range(1, 2_501)]


def test_send__a_request_of_ten_megabytes__is_taken(service: Service) -> None:
    records = [record(number, referrer="x" * 3_000_000) for number in range(1, 5)]

    assert _opened().send(batch_of(records)).refused == ()
    assert service.asked == [[1, 2, 3], [4]]


def test_send__packed__messages_are_full(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = batch(1, 25)
    lines = sent.lines.decode().splitlines()
    monkeypatch.setattr(module, "LIMITS", Limits(10 * len(lines[24].encode()) + 9, 10_000_000, 1_000))

    _opened("?packed=1").send(sent)

    packed = [text.split("\n") for text, _ in service.messages]
    assert [len(found) for found in packed] == [10, 10, 5]
    assert [line for found in packed for line in found] == lines


def test_send__synthetic__is_marked(service: Service) -> None:
    _opened().send(batch_of([record(1)], is_synthetic=True))

    assert [attributes for _, attributes in service.messages] == [{"synthetic": "true"}]


@pytest.mark.parametrize("query", ["", "?packed=1"])
def test_send__records_are_refused__those_alone(service: Service, query: str) -> None:
    service.fails = lambda ids: grpc.StatusCode.INVALID_ARGUMENT if {3, 4, 9} & {*ids} else None

    delivery = _opened(query).send(batch(1, 10))

    assert delivery.refused == tuple(Refusal(number, "Pub/Sub refuses it: InvalidArgument") for number in (3, 4, 9))
    taken = [json.loads(line)["event_log_id"] for text, _ in service.messages for line in text.split("\n")]
    assert taken == [1, 2, 5, 6, 7, 8, 10]


def test_send__all_are_refused_and_the_topic_is_wrong__the_records_are_not_at_fault(service: Service) -> None:
    service.fails = lambda ids: grpc.StatusCode.INVALID_ARGUMENT if ids else grpc.StatusCode.PERMISSION_DENIED

    with pytest.raises(SinkRefused, match="PermissionDenied"):
        _opened().send(batch(1, 3))


def test_send__all_are_refused_and_the_topic_is_right__the_records_are_at_fault(service: Service) -> None:
    service.fails = lambda ids: grpc.StatusCode.INVALID_ARGUMENT if ids else None

    assert [one.event_log_id for one in _opened().send(batch(1, 3)).refused] == [1, 2, 3]


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        ("UNAVAILABLE", SinkUnavailable, "ServiceUnavailable"),
        ("RESOURCE_EXHAUSTED", SinkUnavailable, "ResourceExhausted"),
        ("INTERNAL", SinkUnavailable, "InternalServerError"),
        ("ABORTED", SinkUnavailable, "Aborted"),
        ("UNKNOWN", SinkUnavailable, "Unknown"),
        ("PERMISSION_DENIED", SinkRefused, "PermissionDenied"),
        ("UNAUTHENTICATED", SinkRefused, "Unauthenticated"),
        ("FAILED_PRECONDITION", SinkRefused, "FailedPrecondition"),
    ],
)
def test_check_and_send__topic_fails__is_told_by_its_code_alone(
    service: Service, caplog: pytest.LogCaptureFixture, status: str, kind: type[Exception], told: str
) -> None:
    caplog.set_level(logging.DEBUG)
    service.fails = lambda _: grpc.StatusCode[status]

    for ask in ASKS:
        with pytest.raises(kind, match=told) as failure:
            ask(_opened())
        assert SECRET not in f"{failure.value!r} {caplog.text}"


def test_check__topic_is_there__sends_nothing(service: Service) -> None:
    _opened().check()

    assert service.asked == []


def test_check__no_topic__says_what_is_needed(service: Service) -> None:
    with pytest.raises(SinkRefused, match=r"NotFound\. It has to exist.* pubsub\.topics\.publish"):
        _opened(topic="other").check()


def test_send__topic_never_answers__is_given_up_in_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.3)
    service.fails = lambda _: service.closing.wait(20) and None

    with pytest.raises(SinkUnavailable, match="DeadlineExceeded"):
        _opened().send(batch(1, 3))


def test_send__nobody_is_there__is_to_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 2.0)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")

    with pytest.raises(SinkUnavailable, match=r"ServiceUnavailable|DeadlineExceeded"):
        _opened().send(batch(1, 3))


def test_send__no_credentials__is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.devnull)

    with pytest.raises(SinkRefused, match="has no credentials of Google's: DefaultCredentialsError"):
        _opened().send(batch(1, 3))


def test_send__client_is_not_installed__says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.pubsub_v1", None)

    with pytest.raises(SinkRefused, match=r"needs Google's client: pip install 'analytics-pipeline\[pubsub\]'$"):
        _opened().send(batch(1, 3))
