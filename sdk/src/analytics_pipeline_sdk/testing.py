"""A client for an application's own tests: it keeps what was tracked, and looks at it as the server would."""

from typing import TypeVar

import msgspec

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.base import Client
from analytics_pipeline_sdk.delivery.errors import Refused
from analytics_pipeline_sdk.delivery.intake import BeforeSend, Intake
from analytics_pipeline_sdk.events import Event, wire_name
from analytics_pipeline_sdk.protocol import Envelope
from analytics_pipeline_sdk.settings import Settings

_Kind = TypeVar("_Kind", bound=Event)


class MemoryClient(Client):
    """Keeps in `events` what the server would store, in order, and says in `problems` what is wrong with the rest."""

    def __init__(self, before_send: BeforeSend | None = None) -> None:
        self.events: list[Event] = []
        self.problems: list[str] = []
        self._refused: dict[str, int] = {}
        self._rejected: dict[str, int] = {}
        self._intake = Intake(Settings().event_bytes, before_send)

    def track(self, event: Event) -> str | None:
        try:
            identifier, payload = self._intake.make(event)
        except Refused as refused:
            self._refused[refused.reason] = self._refused.get(refused.reason, 0) + 1
            self.problems.append(f"{type(event).__name__}: {refused.reason}")
            return None
        try:
            self.events.append(msgspec.json.decode(payload, type=Envelope).event)
        except msgspec.ValidationError as error:
            self._rejected["invalid"] = self._rejected.get("invalid", 0) + 1
            self.problems.append(f"{type(event).__name__}: {error}")
        return identifier

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """The events of this type, in the order in which they were tracked."""
        return [event for event in self.events if isinstance(event, kind)]

    def only(self, kind: type[_Kind]) -> _Kind:
        """The one event of this type; raises AssertionError if there is none, or if there are several."""
        found = self.of(kind)
        assert len(found) == 1, f"{len(found)} events are {wire_name(kind)}; {self._tracked()}"
        return found[0]

    def assert_tracked(self, kind: type[Event], **members: object) -> None:
        """Raise AssertionError unless an event of this type with these members was tracked."""
        found = self.of(kind)
        matching = [one for one in found if all(getattr(one, name) == value for name, value in members.items())]
        assert matching, f"no {wire_name(kind)} with {members}; {self._tracked()}"

    def clear(self) -> None:
        """Forget everything."""
        self.events.clear()
        self.problems.clear()
        self._refused.clear()
        self._rejected.clear()

    def _tracked(self) -> str:
        return f"tracked: {self.events}, not stored: {self.problems}"

    def flush(self, timeout: float = 10.0) -> bool:
        return True

    def close(self, timeout: float = 10.0) -> bool:
        return True

    def stats(self) -> Stats:
        stored, rejected = len(self.events), sum(self._rejected.values())
        return Stats(
            accepted=stored + rejected, delivered=stored, refused=dict(self._refused), rejected=dict(self._rejected)
        )
