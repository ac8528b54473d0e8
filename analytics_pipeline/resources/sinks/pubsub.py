"""Messages of a Google Pub/Sub topic, published by Google's client, an optional extra. No order is kept.

A request is taken as a whole or not at all; one that is refused is cut until only single messages are.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks.base import Batch, Delivery, Refusal, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.messages import Limits, Message
from analytics_pipeline.sink_addresses import SinkAddress

if TYPE_CHECKING:
    from google.pubsub_v1 import PublisherClient

T = TypeVar("T")

# A request may have 10 MB, of which messages are all but a little.
LIMITS = Limits(message_bytes=9_900_000, request_bytes=9_900_000, messages=1_000)
SYNTHETIC = "synthetic"
EMULATOR = "PUBSUB_EMULATOR_HOST"
SECONDS = 60.0
_ABOUT_US = ("NotFound", "PermissionDenied", "Forbidden", "Unauthenticated", "Unauthorized", "FailedPrecondition")


class _MessagesRefused(Exception):
    """The topic works, and refuses a request for what is in it."""


@dataclass(frozen=True)
class PubSubSink:
    """Records as messages of a topic, `projects/…/topics/…`."""

    name: str
    topic: str
    is_packed: bool

    def check(self) -> None:
        self._asked(lambda client: client.get_topic(topic=self.topic, retry=None, timeout=SECONDS))

    def send(self, batch: Batch) -> Delivery:
        messages, refused = LIMITS.messages_of(batch, is_packed=self.is_packed)
        attributes = {SYNTHETIC: "true"} if batch.is_synthetic else {}
        for request in LIMITS.requests(messages):
            refused += self._published(request, attributes)
        if len(refused) == len(batch.ids):
            # If the topic is at fault, it says so here.
            self.check()
        return Delivery(sum(map(len, messages)), tuple(sorted(refused, key=lambda one: one.event_log_id)))

    def close(self) -> None:
        if "_client" in vars(self):
            transport: Any = self._client.transport
            transport.close()

    @cached_property
    def _client(self) -> "PublisherClient":
        import grpc
        from google.pubsub_v1 import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        emulator = os.environ.get(EMULATOR)
        if emulator:
            return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator)))
        return PublisherClient()

    def _published(self, messages: list[Message], attributes: dict[str, str]) -> list[Refusal]:
        """The records of the messages that the topic refuses by themselves."""
        request = {"topic": self.topic, "messages": [{"data": one.body, "attributes": attributes} for one in messages]}
        try:
            self._asked(lambda client: client.publish(request=request, retry=None, timeout=SECONDS))
        except _MessagesRefused as error:
            if len(messages) == 1 and len(messages[0].ids) == 1:
                return [Refusal(messages[0].ids[0], str(error))]
            if len(messages) == 1:
                messages = messages[0].singles()
            half = (len(messages) + 1) // 2
            return self._published(messages[:half], attributes) + self._published(messages[half:], attributes)
        return []

    def _asked(self, ask: "Callable[[PublisherClient], T]") -> T:
        try:
            import google.pubsub_v1  # noqa: F401 - it is what the extra brings
            from google.api_core.exceptions import GoogleAPICallError
            from google.auth.exceptions import GoogleAuthError
        except ImportError:
            raise SinkRefused(
                f"The sink {self.name} needs Google's client: pip install 'analytics-pipeline[pubsub]'"
            ) from None
        try:
            return ask(self._client)
        except GoogleAPICallError as error:
            # Its text may hold a record.
            raise self._failure(error) from None
        except GoogleAuthError as error:
            kind: Any = SinkUnavailable if error.retryable else SinkRefused
            raise kind(f"The sink {self.name} has no credentials of Google's: {type(error).__name__}") from None

    def _failure(self, error: Any) -> Exception:
        code = type(error).__name__
        if code in ("InvalidArgument", "BadRequest", "OutOfRange"):
            return _MessagesRefused(f"Pub/Sub refuses it: {code}")
        if code in _ABOUT_US:
            return SinkRefused(
                f"The topic of the sink {self.name} cannot be used: {code}. It has to exist, and the credentials need"
                " pubsub.topics.publish and pubsub.topics.get on it"
            )
        return SinkUnavailable(f"The topic of the sink {self.name} does not take messages now: {code}")


def open_pubsub(address: SinkAddress, settings: Settings, run_id: str | None) -> PubSubSink:
    """The sink of a Pub/Sub topic."""
    parts = address.parts
    return PubSubSink(address.name, f"projects/{parts.netloc}/topics/{parts.path[1:]}", address.is_packed)
