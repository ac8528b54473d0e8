"""Messages of a broker: every record is in one of them, none is larger than allowed, and no request either."""

import json

from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.resources.sinks.messages import Limits
from tests.resources.sinks.records import batch_of

_TEXTS = st.lists(st.text(max_size=60), min_size=1, max_size=40)


@given(_TEXTS, st.booleans(), st.integers(60, 400), st.integers(1, 10))
def test_messages_of__any_records__each_once_within_the_limits(
    texts: list[str], is_packed: bool, most: int, messages: int
) -> None:
    batch = batch_of([{"event_log_id": number, "text": text} for number, text in enumerate(texts, 1)])
    limits = Limits(most, 2 * most, messages)

    made, refused = limits.messages_of(batch, is_packed=is_packed)
    requests = [*limits.requests(made)]

    large = [number for number, line in zip(batch.ids, batch.lines.split(b"\n"), strict=False) if len(line) > most]
    assert [one.event_log_id for one in refused] == large
    assert [message for request in requests for message in request] == made
    assert all(len(request) <= messages and sum(map(len, request)) <= 2 * most for request in requests)
    assert all(len(message) <= most and (is_packed or len(message.ids) == 1) for message in made)
    read = [json.loads(line)["event_log_id"] for message in made for line in message.body.split(b"\n")]
    assert read == [number for message in made for number in message.ids]
    assert sorted([*read, *large]) == [*batch.ids]


def test_messages_of__packed__a_message_is_as_full_as_it_can_be() -> None:
    batch = batch_of([{"event_log_id": number} for number in range(10, 20)])
    line = len(b'{"event_log_id": 10}')

    made, _ = Limits(3 * line + 2, 10_000, 10).messages_of(batch, is_packed=True)

    assert [len(message.ids) for message in made] == [3, 3, 3, 1]
