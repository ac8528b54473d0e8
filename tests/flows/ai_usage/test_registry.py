"""The registry of AI events: an id or a name never means two things."""

from dataclasses import replace

import pytest

from analytics_pipeline.flows.ai_usage.errors import InvalidRegistry
from analytics_pipeline.flows.ai_usage.registry import EVENTS, AiEvent, check, events_of

NEW = AiEvent("chat", "new_event", 1000)


def test_check__of_the_registry__finds_nothing() -> None:
    check(EVENTS)


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (replace(NEW, id=1, own_id=99), "id 1 is used 2 times"),
        (replace(NEW, name="code_suggestions_requested"), "name code_suggestions_requested is used 2 times"),
        (replace(NEW, own_id=1), "id in the relation of chat 1 is used 2 times"),
        (replace(NEW, id=2**16), "new_event: the id 65536 is no UInt16"),
        (replace(NEW, id=0), "new_event: the id 0 is no UInt16"),
    ],
)
def test_check__an_event_that_contradicts_another__is_refused(event: AiEvent, complaint: str) -> None:
    with pytest.raises(InvalidRegistry) as error:
        check((*EVENTS, event))

    assert str(error.value) == complaint


def test_events_of__a_feature__are_numbered_as_in_its_relation_with_deprecated_ones() -> None:
    assert {id_: event.name for id_, event in events_of("chat").items()} == {1: "request_duo_chat_response"}
    assert {id_: event.is_deprecated for id_, event in events_of("code_suggestions").items()} == {
        1: True,
        2: False,
        3: False,
        4: False,
        5: True,
    }


def test_events_of__one_more_entry__knows_it() -> None:
    assert 1000 in events_of("chat", (*EVENTS, NEW))
