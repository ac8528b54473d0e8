"""The wire protocol between the SDK and the ingestion service; both sides import it from here.

`POST {url}/v1/events/batch` with one JSON object, `Batch`, gzip if `Content-Encoding` says so, and
`Authorization: Bearer <token>`. The answer to a batch that was read is 200 with `Answer`: a verdict for each event.
An event without a verdict counts as `retry`. Any other status is about the whole batch:

| status | means | the client |
|---|---|---|
| 400, 413, 415, 422 and other 4xx | something in the batch cannot be read | halves it until the culprit is alone |
| 401, 403, 404, 405 | the token or the address is wrong, not the events | keeps the events and asks again |
| 408, 425, 429, 5xx | not now | keeps the events and asks again, after `Retry-After` if given |
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from analytics_pipeline_sdk.events import AnyEvent

BATCH_PATH = "/v1/events/batch"
REQUEST_ID_HEADER = "X-Request-Id"
ATTEMPT_HEADER = "X-Attempt"
# What the ingestion service accepts at most, before and after decompression.
LARGEST_BATCH_BYTES = 1 << 20

VerdictName = Literal["accepted", "duplicate", "rejected", "retry"]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One event with what was set when it was tracked: a UUIDv7 and the UTC time, in milliseconds."""

    id: UUID
    timestamp: datetime
    event: AnyEvent


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a request.

    `request_id` stays the same over all attempts and `attempt` counts them from 1. `sent_at` is the client's clock
    (UTC) at this attempt, so that the server can tell its skew. `events` are left undecoded here: one bad event must
    not spoil the others, so each is decoded as an `Envelope` of its own.
    """

    request_id: UUID
    attempt: int = 1
    sent_at: datetime
    sdk: str
    hostname: str | None = None
    environment: str | None = None
    service: str | None = None
    events: list[msgspec.Raw]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The verdict on the event at `index` of the batch; `field` and `reason` say why it was rejected."""

    index: int
    verdict: VerdictName
    field: str | None = None
    reason: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """The answer to a batch that could be read."""

    request_id: UUID
    verdicts: list[Verdict]
