"""The HTTP sink against a real server: signed, repeatable, patient within limits, and silent about what is secret."""

import email.utils
import gzip
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks import https as module
from analytics_pipeline.resources.sinks.base import Delivery, Refusal, Sink, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.docs.pages import to_run
from tests.resources.receiver import Receiver, Reply, Request, receiving
from tests.resources.sinks.records import ASKS, batch, batch_of, record

SECRET = "S3CRET-0123456789"
PATH = f"/{SECRET}/events?token={SECRET}"


def opened(url: str) -> Sink:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPORT_SINKS", f"hook={url}")
        patch.setenv("EXPORT_SINK_HOOK_SECRET", SECRET)
        loaded = Settings.load()
    return open_sink(loaded.sinks[0], loaded)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as served:
        yield served


@pytest.fixture
def sink(receiver: Receiver) -> Iterator[Sink]:
    one = opened(f"http://127.0.0.1:{receiver.port}{PATH}")
    yield one
    one.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Sink:
    """A sink that waits for a third of a second."""
    monkeypatch.setattr(module, "SECONDS", 0.3)
    return opened(f"http://127.0.0.1:{receiver.port}{PATH}")


def _always(reply: Reply) -> Callable[[Request], Reply]:
    return lambda _: reply


def test_send__taken__is_signed_compressed_and_named(receiver: Receiver, sink: Sink) -> None:
    sent = batch(1, 3)
    before = int(time.time())

    delivery = sink.send(sent)

    (request,) = receiver.got
    assert (request.method, request.path) == ("POST", PATH)
    assert gzip.decompress(request.body) == sent.lines
    key = f"1-3-{hashlib.sha256(sent.lines).hexdigest()[:16]}"
    at, _, digest = request.headers["analytics-signature"].removeprefix("t=").partition(",v1=")
    assert before <= int(at) <= time.time()
    signed = f"{at}.{key}.".encode() + request.body
    assert digest == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    told = {"content-type": "application/x-ndjson", "content-encoding": "gzip", "idempotency-key": key}
    assert told.items() <= request.headers.items()
    assert request.headers["analytics-records"] == "3"
    assert "analytics-synthetic" not in request.headers
    assert delivery == Delivery(len(request.body))


def test_send__synthetic__says_so(receiver: Receiver, sink: Sink) -> None:
    sink.send(batch_of([record(1)], is_synthetic=True))

    assert [request.headers["analytics-synthetic"] for request in receiver.got] == ["true"]


def test_send__again__has_the_same_key_and_body__and_other_records_between_the_same_ids_another(
    receiver: Receiver, sink: Sink
) -> None:
    for sent in (batch(1, 3), batch(1, 3), batch_of([record(1), record(3)])):
        sink.send(sent)

    first, second, other = [(request.headers["idempotency-key"], request.body) for request in receiver.got]
    assert first == second
    assert first[0] != other[0]


def test_send__many__goes_over_one_connection_until_the_receiver_ends_it(receiver: Receiver, sink: Sink) -> None:
    for _ in range(3):
        sink.send(batch(1, 3))
    receiver.reply = _always(Reply(headers={"Connection": "close"}))
    sink.send(batch(1, 3))
    receiver.reply = _always(Reply())
    sink.send(batch(1, 3))

    connections = [request.connection for request in receiver.got]
    assert connections[:4] == [connections[0]] * 4
    assert len(connections) == 5


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_send__passing_trouble__is_to_be_sent_again(receiver: Receiver, sink: Sink, status: int) -> None:
    receiver.reply = _always(Reply(status, body=SECRET.encode()))

    with pytest.raises(SinkUnavailable) as failure:
        sink.send(batch(1, 3))

    assert str(failure.value) == f"The receiver of the sink hook: HTTP status {status}"
    assert (failure.value.retry_after, len(receiver.got)) == (None, 1)


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [
        ("0", 0, 0),
        ("120", 120, 120),
        (" 7 ", 7, 7),
        ("99999999999999999999", 3600, 3600),
        (lambda: email.utils.formatdate(time.time() + 90, usegmt=True), 85, 90),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
)
def test_send__receiver_wishes_a_pause__it_is_heard_up_to_an_hour(
    receiver: Receiver, sink: Sink, wish: str | Callable[[], str], least: float, most: float
) -> None:
    receiver.reply = _always(Reply(429, {"Retry-After": wish if isinstance(wish, str) else wish()}))

    with pytest.raises(SinkUnavailable) as failure:
        sink.send(batch(1, 3))

    assert failure.value.retry_after is not None
    assert least <= failure.value.retry_after <= most


@pytest.mark.parametrize("wish", ["soon", "-5", "1.5", "Wed, 99 Foo 99999 99:99:99 GMT", ""])
def test_send__wish_cannot_be_read__there_is_none(receiver: Receiver, sink: Sink, wish: str) -> None:
    receiver.reply = _always(Reply(503, {"Retry-After": wish}))

    with pytest.raises(SinkUnavailable) as failure:
        sink.send(batch(1, 3))

    assert failure.value.retry_after is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "half of the answer", "no HTTP", "long header"],
)
def test_send__connection_is_cut_or_no_answer__is_to_be_sent_again(receiver: Receiver, sink: Sink, raw: bytes) -> None:
    receiver.reply = _always(Reply(raw=raw))

    with pytest.raises(SinkUnavailable, match="the connection was cut, or what answers is no HTTP server"):
        sink.send(batch(1, 3))

    receiver.reply = _always(Reply())
    sink.send(batch(1, 3))
    first, second = receiver.got
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_send__times_out_after_taking_the_batch__repeats_under_the_same_key(receiver: Receiver, hasty: Sink) -> None:
    receiver.reply = lambda _: Reply(200 + receiver.closing.wait(20))

    with pytest.raises(SinkUnavailable, match=r"no answer within 0\.3 s"):
        hasty.send(batch(1, 3))
    receiver.reply = _always(Reply())
    hasty.send(batch(1, 3))

    assert len(receiver.got) == 2
    assert len({request.headers["idempotency-key"] for request in receiver.got}) == 1


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
    ids=["header", "body", "body without an end"],
)
def test_send__answer_drips__is_given_up_in_time(receiver: Receiver, hasty: Sink, raw: bytes) -> None:
    receiver.reply = _always(Reply(raw=raw, drips=b"x"))
    begun = time.monotonic()

    with pytest.raises(SinkUnavailable, match=r"no answer within 0\.3 s"):
        hasty.send(batch(1, 3))

    assert time.monotonic() - begun < 30


def test_send__answer_is_huge__no_more_of_it_is_read(receiver: Receiver, sink: Sink) -> None:
    receiver.reply = _always(Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n", drips=b"x" * 1_000_000))
    begun = time.monotonic()

    assert sink.send(batch(1, 3)).refused == ()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_send__redirect__is_not_followed(receiver: Receiver, sink: Sink, status: int) -> None:
    with receiving(Receiver()) as other:
        receiver.reply = _always(Reply(status, {"Location": f"http://127.0.0.1:{other.port}/{SECRET}"}))
        with pytest.raises(SinkRefused, match="a redirect, which is not followed: name the final address") as failure:
            sink.send(batch(1, 3))

    assert (len(receiver.got), other.got) == (1, [])
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("status", [203, 206, 207, 226, 401, 403, 404, 405, 410, 411, 415, 431])
def test_send__receiver_takes_nothing_at_all__is_refused_after_one_request(
    receiver: Receiver, sink: Sink, status: int
) -> None:
    receiver.reply = _always(Reply(status, body=SECRET.encode()))

    with pytest.raises(SinkRefused, match=rf"^The receiver of the sink hook takes nothing: HTTP status {status}"):
        sink.send(batch(1, 3))

    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [400, 409, 413, 418, 422])
def test_send__some_records_are_refused__those_alone(receiver: Receiver, sink: Sink, status: int) -> None:
    bad = {3, 4, 9}
    taken: list[int] = []

    def reply(request: Request) -> Reply:
        if bad & {*request.ids}:
            return Reply(status)
        taken.extend(request.ids)
        return Reply()

    receiver.reply = reply

    delivery = sink.send(batch(1, 10))

    assert taken == [1, 2, 5, 6, 7, 8, 10]
    assert delivery.refused == tuple(Refusal(number, f"HTTP status {status}") for number in sorted(bad))
    keys = [request.headers["idempotency-key"] for request in receiver.got]
    assert len({*keys}) == len(keys)


def test_send__batch_is_too_large__goes_in_parts(receiver: Receiver, sink: Sink) -> None:
    receiver.reply = lambda request: Reply(413 if len(request.ids) > 4 else 204)

    assert sink.send(batch(1, 10)).refused == ()
    assert [number for ids in receiver.ids if len(ids) <= 4 for number in ids] == [*range(1, 11)]


def test_send__all_are_refused_but_nothing_is_taken__the_records_are_at_fault(receiver: Receiver, sink: Sink) -> None:
    receiver.reply = lambda request: Reply(400 if request.ids else 204)

    assert sink.send(batch(1, 3)) == Delivery(0, tuple(Refusal(number, "HTTP status 400") for number in (1, 2, 3)))


def test_send__all_are_refused_and_nothing_as_well__the_receiver_is_at_fault(receiver: Receiver, sink: Sink) -> None:
    receiver.reply = _always(Reply(400))

    with pytest.raises(SinkRefused, match=r"refuses every record .*empty batch .* the records are not at fault"):
        sink.send(batch(1, 3))


def test_send__trouble_amid_refusals__the_batch_is_to_be_sent_again(receiver: Receiver, sink: Sink) -> None:
    receiver.reply = lambda request: Reply(400 if len(request.ids) > 1 else 503)

    with pytest.raises(SinkUnavailable):
        sink.send(batch(1, 3))


def test_check__asks_with_an_empty_batch(receiver: Receiver, sink: Sink) -> None:
    sink.check()

    assert receiver.ids == [[]]
    assert [request.headers["idempotency-key"] for request in receiver.got] == ["empty"]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, SinkRefused), (401, SinkRefused), (404, SinkRefused), (503, SinkUnavailable)]
)
def test_check__receiver_refuses__says_why(receiver: Receiver, sink: Sink, status: int, kind: type[Exception]) -> None:
    receiver.reply = _always(Reply(status))

    with pytest.raises(kind, match=f"HTTP status {status}"):
        sink.check()


def test_send__receiver_is_dead__is_to_be_sent_again() -> None:
    with receiving(Receiver()) as gone:
        port = gone.port

    with pytest.raises(SinkUnavailable, match=r"^The receiver of the sink hook: it cannot be connected to$"):
        opened(f"http://127.0.0.1:{port}{PATH}").send(batch(1, 3))


_ECHO = st.sampled_from([SECRET, PATH, f"Bearer {SECRET}", ""])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(status=st.integers(200, 599), where=_ECHO, body=_ECHO, raw=st.none() | st.binary(max_size=40))
def test_send_and_check__any_answer__no_byte_of_a_secret_is_told(
    receiver: Receiver,
    sink: Sink,
    caplog: pytest.LogCaptureFixture,
    status: int,
    where: str,
    body: str,
    raw: bytes | None,
) -> None:
    """The receiver gives back what it knows: the address, the key, and the record's values."""
    caplog.set_level(logging.DEBUG)
    raw = raw if raw is None else raw + SECRET.encode()
    receiver.reply = _always(Reply(status, {"Location": where, "Retry-After": where}, body.encode(), raw))
    told = [repr(sink)]

    for ask in (sink.check, lambda: sink.send(batch_of([record(1, referrer=SECRET)]))):
        try:
            told.append(repr(ask()))
        except (SinkRefused, SinkUnavailable) as error:
            told.append(
                f"{error!r} {error} {error.__cause__!r} {'' if error.__suppress_context__ else error.__context__!r}"
            )

    assert SECRET not in f"{told} {caplog.text}"


@pytest.mark.parametrize("ask", ASKS)
def test_send_and_check__private_address__are_refused_with_what_allows_it(ask: Callable[[Sink], object]) -> None:
    with pytest.raises(SinkRefused, match=r"is not public, so nothing was sent.* EXPORT_ALLOW_PRIVATE_ADDRESSES=true$"):
        ask(opened("https://10.255.255.1/path"))


def _is_genuine() -> Callable[[str, Mapping[str, str], bytes], bool]:
    """The receiver's own check, as the documentation gives it."""
    (block,) = [one for one in to_run("python") if "def is_genuine" in one.text]
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)  # noqa: S102 - the text is ours
    found: Callable[[str, Mapping[str, str], bytes], bool] = names["is_genuine"]
    return found


def test_is_genuine__as_the_page_has_it__takes_our_requests_and_no_others(receiver: Receiver, sink: Sink) -> None:
    sink.send(batch(1, 3))
    (request,) = receiver.got
    headers = {"-".join(map(str.title, name.split("-"))): value for name, value in request.headers.items()}
    is_genuine = _is_genuine()

    with time_machine.travel(time.time() + 600):
        assert not is_genuine(SECRET, headers, request.body)
    assert is_genuine(SECRET, headers, request.body)
    assert not is_genuine("another key", headers, request.body)
    assert not is_genuine(SECRET, headers, request.body + b"x")
    assert not is_genuine(SECRET, headers | {"Idempotency-Key": "1-3-0"}, request.body)
    later = headers["Analytics-Signature"].replace("t=1", "t=2")
    assert not is_genuine(SECRET, headers | {"Analytics-Signature": later}, request.body)
