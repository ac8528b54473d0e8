"""Verdicts on events: what is sent again, what is not, and how a batch that cannot be read is halved."""

from collections.abc import Callable
from dataclasses import replace

from analytics_pipeline_sdk import AnalyticsClient, Stats
from sdk_support.receiver import Receiver
from sdk_support.samples import FAST, event

MakeClient = Callable[..., AnalyticsClient]
# A batch of all events of a test, and no other.
ONE_BATCH = replace(FAST, flush_interval=60.0)


def test_verdicts__some_rejected_some_retry__only_retry_is_sent_again(receiver: Receiver, make: MakeClient) -> None:
    refusals = {"1": iter(()), "2": iter(("retry", "retry"))}

    def judge(one: dict[str, dict[str, str]]) -> dict[str, str]:
        number = one["event"]["task_id"][-1]
        if number == "1":
            return {"verdict": "rejected", "field": "$.event.command", "reason": "too_long"}
        return {"verdict": next(refusals.get(number, iter(())), "accepted")}

    receiver.judge = judge
    client = make(settings=ONE_BATCH)

    ids = [client.track(event(number)) for number in range(4)]

    assert client.flush(10)
    assert [seen.ids for seen in receiver.seen] == [ids, [ids[2]], [ids[2]]]
    assert [seen.attempt for seen in receiver.seen] == [1, 2, 3]
    assert len({seen.request_id for seen in receiver.seen}) == 1
    assert client.stats() == Stats(accepted=4, delivered=3, rejected={"too_long": 1})


def test_verdicts__missing_for_some__these_are_sent_again(receiver: Receiver, make: MakeClient) -> None:
    forgotten = {"2"}

    def judge(one: dict[str, dict[str, str]]) -> dict[str, str] | None:
        number = one["event"]["task_id"][-1]
        if number in forgotten:
            forgotten.remove(number)
            return None
        return {"verdict": "accepted"}

    receiver.judge = judge
    client = make(settings=ONE_BATCH)

    ids = [client.track(event(number)) for number in range(4)]

    assert client.flush(10)
    assert [seen.ids for seen in receiver.seen] == [ids, [ids[2]]]
    assert client.stats() == Stats(accepted=4, delivered=4)


def test_retry_verdict__that_never_ends__holds_up_no_other_event(receiver: Receiver, make: MakeClient) -> None:
    receiver.judge = lambda one: {"verdict": "retry" if one["event"]["task_id"][-1] == "0" else "accepted"}
    client = make(settings=replace(FAST, batch_events=1))

    ids = [client.track(event(number)) for number in range(6)]

    client.flush(1)
    assert [*receiver.stored] == ids[1:]
    assert client.stats() == Stats(accepted=6, delivered=5, pending=1)


def test_retry_verdict__for_everything__holds_a_few_batches_and_takes_no_more(
    receiver: Receiver, make: MakeClient
) -> None:
    receiver.judge = lambda one: {"verdict": "retry"}
    client = make(settings=replace(FAST, batch_events=1, spool_bytes=0, backoff_min=0.5, backoff_max=0.5))
    for number in range(30):
        client.track(event(number))

    client.flush(2)

    assert len({seen.request_id for seen in receiver.seen}) == 8
    assert client.stats() == Stats(accepted=30, pending=30)


def test_unreadable_batch__one_culprit_of_fifty__is_alone_in_the_end(receiver: Receiver, make: MakeClient) -> None:
    receiver.unreadable = lambda events: any(one["event"]["task_id"].endswith("0017") for one in events)
    client = make(settings=ONE_BATCH)

    ids = [client.track(event(number)) for number in range(50)]

    assert client.flush(10)
    assert {*receiver.stored} == {*ids} - {ids[0x17]}
    assert client.stats() == Stats(accepted=50, delivered=49, rejected={"http_400": 1})
    assert len(receiver.seen) < 15
