"""The SNS sink: with moto, through a queue that is subscribed, and with a server that acknowledges what it likes."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import boto3
import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks import sns as module
from analytics_pipeline.resources.sinks.base import Batch, Delivery, Refusal, Sink, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.messages import Limits
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.resources.receiver import Receiver, Reply, Request, receiving
from tests.resources.sinks.records import ASKS, batch, batch_of, record

ARN = "arn:aws:sns:eu-west-1:123456789012:"
SECRET = "AKIAS3CRETS3CRETS3CR"


def _opened(arn: str) -> Sink:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPORT_SINKS", f"topic=sns:{arn}")
        settings = Settings.load()
    return open_sink(settings.sinks[0], settings)


class _Topic:
    """A topic with a queue that gets its messages."""

    def __init__(self) -> None:
        name = f"topic-{uuid.uuid4().hex[:12]}"
        self._sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        sns = boto3.client("sns")
        self.arn = sns.create_topic(Name=name)["TopicArn"]
        queue = f"arn:aws:sqs:eu-west-1:123456789012:{name}"
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue)

    def messages(self) -> list[tuple[str, bool]]:
        """What arrived: the texts, and whether each is marked as synthetic."""
        found: list[tuple[str, bool]] = []
        while got := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", []):
            bodies = [json.loads(one["Body"]) for one in got]
            found += [(one["Message"], "synthetic" in one.get("MessageAttributes", {})) for one in bodies]
            for one in got:
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=one["ReceiptHandle"])
        return found


@pytest.fixture
def topic(environment: Mapping[str, str]) -> _Topic:
    return _Topic()


def _lines(sent: Batch) -> list[str]:
    return sent.lines.decode().splitlines()


def test_send__records__are_a_message_each(topic: _Topic) -> None:
    sent = batch(1, 25)

    delivery = _opened(topic.arn).send(sent)

    assert sorted(topic.messages()) == sorted((line, False) for line in _lines(sent))
    assert delivery == Delivery(len(sent.lines) - 25)


def test_send__packed__messages_are_full(topic: _Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = batch(1, 25)
    monkeypatch.setattr(module, "LIMITS", Limits(10 * len(_lines(sent)[24].encode()) + 9, 262_144, 10))

    _opened(f"{topic.arn}?packed=1").send(sent)

    packed = [text.split("\n") for text, _ in topic.messages()]
    assert sorted(len(lines) for lines in packed) == [5, 10, 10]
    assert sorted(line for lines in packed for line in lines) == sorted(_lines(sent))


def test_send__again__repeats(topic: _Topic) -> None:
    sink = _opened(topic.arn)
    for _ in range(2):
        sink.send(batch(1, 2))

    assert len(topic.messages()) == 4


def test_send__record_larger_than_a_message__is_refused_alone(topic: _Topic) -> None:
    sent = batch_of([record(1), record(2, referrer=SECRET * 20_000), record(3)])

    delivery = _opened(topic.arn).send(sent)

    assert delivery.refused == (Refusal(2, "is larger than the 262,144 bytes of a message"),)
    assert sorted(json.loads(text)["event_log_id"] for text, _ in topic.messages()) == [1, 3]


def test_send__synthetic__is_marked(topic: _Topic) -> None:
    _opened(topic.arn).send(batch_of([record(1)], is_synthetic=True))

    assert [is_synthetic for _, is_synthetic in topic.messages()] == [True]


def test_check__topic_is_there__sends_nothing(topic: _Topic) -> None:
    _opened(topic.arn).check()

    assert topic.messages() == []


def test_check_and_send__no_topic__say_what_is_needed(environment: Mapping[str, str]) -> None:
    for ask in ASKS:
        with pytest.raises(SinkRefused, match=r"cannot be used: NotFound.* sns:Publish and sns:GetTopicAttributes"):
            ask(_opened(f"{ARN}no-such-topic"))


@pytest.fixture
def service(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A server in the place of SNS."""
    with receiving(Receiver()) as receiver:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", f"http://127.0.0.1:{receiver.port}")
        yield receiver


def _ids(request: Request) -> dict[str, list[int]]:
    """The entries of a request, by their names, and the records of each."""
    fields = dict(parse_qsl(request.body.decode()))
    names = [key.removesuffix(".Id") for key in fields if key.endswith(".Id")]
    return {
        fields[f"{name}.Id"]: [json.loads(line)["event_log_id"] for line in fields[f"{name}.Message"].split("\n")]
        for name in names
    }


def _acknowledging(outcome: Callable[[list[int]], str], taken: list[int]) -> Callable[[Request], Reply]:
    """For each message: `taken`, `lost`, or the code with which it is refused for good."""

    def reply(request: Request) -> Reply:
        successful, failed = "", ""
        for name, ids in _ids(request).items():
            said = outcome(ids)
            if said == "taken":
                taken.extend(ids)
                successful += f"<member><Id>{name}</Id><MessageId>{name}</MessageId></member>"
            elif said != "lost":
                fault = "false" if said == "InternalError" else "true"
                failed += f"<member><Id>{name}</Id><Code>{said}</Code><SenderFault>{fault}</SenderFault></member>"
        result = f"<Successful>{successful}</Successful><Failed>{failed}</Failed>"
        wrapped = f"<PublishBatchResult>{result}</PublishBatchResult>"
        xmlns = "http://sns.amazonaws.com/doc/2010-03-31/"
        return Reply(200, body=f'<PublishBatchResponse xmlns="{xmlns}">{wrapped}</PublishBatchResponse>'.encode())

    return reply


@pytest.mark.parametrize("said", ["lost", "InternalError"])
def test_send__half_is_acknowledged__only_the_rest_goes_out_again(service: Receiver, said: str) -> None:
    taken: list[int] = []
    service.reply = _acknowledging(lambda ids: said if ids[0] % 2 and len(service.got) == 1 else "taken", taken)

    assert _opened(f"{ARN}topic").send(batch(1, 6)).refused == ()
    assert taken == [2, 4, 6, 1, 3, 5]


def test_send__some_are_never_acknowledged__the_batch_is_to_be_sent_again(service: Receiver) -> None:
    service.reply = _acknowledging(lambda ids: "lost" if ids == [3] else "taken", [])

    with pytest.raises(SinkUnavailable, match=r"^The topic of the sink topic has not acknowledged 1 messages$"):
        _opened(f"{ARN}topic").send(batch(1, 6))

    assert len(service.got) == 3


@pytest.mark.parametrize("query", ["", "?packed=1"])
def test_send__messages_are_refused_for_good__the_records_at_fault_alone(service: Receiver, query: str) -> None:
    taken: list[int] = []
    service.reply = _acknowledging(lambda ids: "InvalidParameter" if {3, 5} & {*ids} else "taken", taken)

    delivery = _opened(f"{ARN}topic{query}").send(batch(1, 6))

    assert delivery.refused == tuple(Refusal(number, "SNS refuses it: InvalidParameter") for number in (3, 5))
    assert taken == [1, 2, 4, 6]


def _error(status: int, code: str) -> Reply:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{SECRET}</Message></Error>"
    return Reply(status, body=f"<ErrorResponse>{error}</ErrorResponse>".encode())


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (_error(403, "AuthorizationError"), SinkRefused, "AuthorizationError"),
        (_error(403, "InvalidClientTokenId"), SinkRefused, "InvalidClientTokenId"),
        (_error(404, "NotFound"), SinkRefused, "NotFound"),
        (_error(400, SECRET + "!"), SinkRefused, "an unknown error"),
        (_error(400, "Throttling"), SinkUnavailable, "Throttling"),
        (_error(503, "ServiceUnavailable"), SinkUnavailable, "ServiceUnavailable"),
        (Reply(raw=b""), SinkUnavailable, "ConnectionClosedError"),
    ],
)
def test_check_and_send__service_refuses__is_told_by_its_code_alone(
    service: Receiver, monkeypatch: pytest.MonkeyPatch, reply: Reply, kind: type[Exception], told: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    service.reply = lambda _: reply

    for ask in ASKS:
        with pytest.raises(kind) as failure:
            ask(_opened(f"{ARN}topic"))
        assert told in str(failure.value)
        assert SECRET not in f"{failure.value!r}"


def test_send__service_never_answers__is_given_up_in_time(service: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    service.reply = lambda _: Reply(raw=b"HTTP/1.1 200 OK\r\nX: ", drips=b"x")

    with pytest.raises(SinkUnavailable, match=r"does not answer: NoAnswer$"):
        _opened(f"{ARN}topic").send(batch(1, 2))


def test_send__no_credentials__is_refused(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SinkRefused, match=r"NoCredentialsError\. Check the AWS environment$"):
        _opened(f"{ARN}topic").send(batch(1, 2))


def test_sink__shows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: Any = repr(_opened(f"{ARN}topic?packed=1"))

    assert shown == f"SnsSink(name='topic', topic='{ARN}topic', is_packed=True)"
