"""The base of all clients: the verbs that an application uses."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.events import Event

_Self = TypeVar("_Self", bound="Client")


class Client(ABC):
    """A place to send events to. No method raises for a reason of its own; what went wrong is in `stats()`."""

    @abstractmethod
    def track(self, event: Event) -> str | None:
        """Accept the event and return at once; the id under which it is stored, None if it was refused."""

    def track_if(self, condition: object, event: Event) -> str | None:
        """Track the event if the condition is true."""
        return self.track(event) if condition else None

    @abstractmethod
    def flush(self, timeout: float = 10.0) -> bool:
        """Send what was accepted so far; whether all of it is settled within `timeout` seconds."""

    @abstractmethod
    def close(self, timeout: float = 10.0) -> bool:
        """Flush and end; whether nothing is left. What is left goes to the spool, for a later process."""

    @abstractmethod
    def stats(self) -> Stats:
        """The fate of every event, at this moment."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NoopClient(Client):
    """Takes every event and does nothing with it: no thread, no connection, no file."""

    def track(self, event: Event) -> str | None:
        return None

    def flush(self, timeout: float = 10.0) -> bool:
        return True

    def close(self, timeout: float = 10.0) -> bool:
        return True

    def stats(self) -> Stats:
        return Stats()
