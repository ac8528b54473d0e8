"""Messages of an SNS topic: each is acknowledged for itself. No order is kept, and a retry repeats."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.patience import NoAnswer, Patience
from analytics_pipeline.resources.sinks.base import Batch, Delivery, Refusal, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.messages import Limits, Message
from analytics_pipeline.sink_addresses import SinkAddress

T = TypeVar("T")

LIMITS = Limits(message_bytes=262_144, request_bytes=262_144, messages=10)
SYNTHETIC = "synthetic"
SECONDS = 60.0
# How often the messages of a request that were not acknowledged go out before the flow takes a pause.
_ROUNDS = 3
_BUSY = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded|Internal|ServiceUnavailable")


@dataclass(frozen=True)
class SnsSink:
    """Records as messages of a topic."""

    name: str
    topic: str
    is_packed: bool

    def check(self) -> None:
        self._asked(lambda: self._client.get_topic_attributes(TopicArn=self.topic))

    def send(self, batch: Batch) -> Delivery:
        messages, refused = LIMITS.messages_of(batch, is_packed=self.is_packed)
        for request in LIMITS.requests(messages):
            refused += self._published(request, self._attributes(batch))
        return Delivery(sum(map(len, messages)), tuple(sorted(refused, key=lambda one: one.event_log_id)))

    def close(self) -> None:
        self._client.close()

    @cached_property
    def _client(self) -> Any:
        config = Config(connect_timeout=10, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 2})
        return boto3.session.Session().client("sns", region_name=self.topic.split(":")[3], config=config)

    def _attributes(self, batch: Batch) -> dict[str, Any]:
        return {SYNTHETIC: {"DataType": "String", "StringValue": "true"}} if batch.is_synthetic else {}

    def _published(self, messages: Sequence[Message], attributes: dict[str, Any]) -> list[Refusal]:
        """Send the messages until each is acknowledged or refused; those that are not go out again alone."""
        refused: list[Refusal] = []
        for _ in range(_ROUNDS):
            taken, failed = self._answer(messages, attributes)
            for number, code in failed.items():
                refused += self._refused(messages[number], code, attributes)
            messages = [one for number, one in enumerate(messages) if number not in taken and number not in failed]
            if not messages:
                return refused
        raise SinkUnavailable(f"The topic of the sink {self.name} has not acknowledged {len(messages)} messages")

    def _refused(self, message: Message, code: str, attributes: dict[str, Any]) -> list[Refusal]:
        """The records of a refused message that are at fault: of many, each is tried by itself."""
        if len(message.ids) == 1:
            return [Refusal(message.ids[0], f"SNS refuses it: {code}")]
        requests = LIMITS.requests(message.singles())
        return [refusal for request in requests for refusal in self._published(request, attributes)]

    def _answer(self, messages: Sequence[Message], attributes: dict[str, Any]) -> tuple[set[int], dict[int, str]]:
        """The places of the messages that were taken, and of those that never will be, with the code."""
        entries = [
            {"Id": str(number), "Message": message.body.decode(), "MessageAttributes": attributes}
            for number, message in enumerate(messages)
        ]
        answer = self._asked(
            lambda: self._client.publish_batch(TopicArn=self.topic, PublishBatchRequestEntries=entries)
        )
        failed = {int(one["Id"]): _shown(one["Code"]) for one in answer.get("Failed", []) if one["SenderFault"]}
        return {int(one["Id"]) for one in answer.get("Successful", [])}, failed

    def _asked(self, ask: Callable[[], T]) -> T:
        """The texts of errors are left out: they may hold keys and records."""
        try:
            return Patience("SNS", SECONDS).wait_for(ask)
        except ClientError as error:
            raise self._failure(error) from None
        except (NoAnswer, HTTPClientError) as error:
            raise SinkUnavailable(
                f"The topic of the sink {self.name} does not answer: {type(error).__name__}"
            ) from None
        except BotoCoreError as error:
            told = f"{type(error).__name__}. Check the AWS environment"
            raise SinkRefused(f"The topic of the sink {self.name} cannot be reached: {told}") from None

    def _failure(self, error: ClientError) -> Exception:
        code = _shown(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429 or _BUSY.search(code):
            return SinkUnavailable(f"The topic of the sink {self.name} is in trouble: {code}")
        return SinkRefused(
            f"The topic of the sink {self.name} cannot be used: {code}. It has to exist, and the AWS environment needs"
            " sns:Publish and sns:GetTopicAttributes on it"
        )


def _shown(code: str) -> str:
    """A code of an error, if it is nothing else."""
    return code if re.fullmatch(r"[A-Za-z.]{1,60}", code) else "an unknown error"


def open_sns(address: SinkAddress, settings: Settings, run_id: str | None) -> SnsSink:
    """The sink of an SNS topic."""
    return SnsSink(address.name, address.parts.path, address.is_packed)
