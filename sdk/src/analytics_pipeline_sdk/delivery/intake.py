"""From an event to the bytes that are kept and sent: its id, its time, its JSON."""

import time
from collections.abc import Callable

import msgspec

from analytics_pipeline_sdk.delivery.errors import Refused
from analytics_pipeline_sdk.events import Event
from analytics_pipeline_sdk.identifiers import UtcClock, uuid7

BeforeSend = Callable[[Event], Event | None]


class Intake:
    """Safe between threads. The JSON is made in track(), so that a later change of a context changes nothing."""

    def __init__(self, largest: int, before_send: BeforeSend | None) -> None:
        self._largest = largest
        self._before_send = before_send
        self._encode = msgspec.json.Encoder().encode
        self._clock = UtcClock()

    def make(self, event: object) -> tuple[str, bytes]:
        """The event's new id and its envelope as JSON; raises Refused."""
        if not isinstance(event, Event):
            raise Refused("not_an_event")
        if self._before_send is not None:
            event = self._changed(event, self._before_send)
        now = time.time_ns()
        identifier = uuid7(now)
        try:
            encoded = self._encode(event)
        except Exception as error:  # whatever a value's class does, track() does not raise
            raise Refused("not_encodable") from error
        head = f'{{"id":"{identifier}","timestamp":"{self._clock.timestamp(now)}","event":'
        payload = head.encode() + encoded + b"}"
        if len(payload) > self._largest:
            raise Refused("too_large")
        return identifier, payload

    def _changed(self, event: Event, before_send: BeforeSend) -> Event:
        """The event as the hook wants it. An event that the hook could not look at may hold what it should take out."""
        try:
            changed = before_send(event)
        except Exception as error:
            raise Refused("before_send_failed") from error
        if changed is None:
            raise Refused("before_send")
        if not isinstance(changed, Event):
            raise Refused("not_an_event")
        return changed
