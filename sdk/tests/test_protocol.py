"""What one side writes the other reads."""

from datetime import datetime, timezone
from uuid import UUID

import msgspec

from analytics_pipeline_sdk.delivery.intake import Intake
from analytics_pipeline_sdk.delivery.transport import Answered, Away, Origin, Request, Unreadable, body, outcome
from analytics_pipeline_sdk.protocol import Answer, Batch, Envelope, Verdict
from sdk_support.samples import event

REQUEST = "01a21d20-d3a8-73c1-806e-b74dbd3d17f2"


def test_body__of_the_client__is_the_batch_of_the_protocol() -> None:
    made = [Intake(1_000, None).make(event(number)) for number in range(2)]
    origin = Origin(service="billing", hostname="web-1", environment=None)

    batch = msgspec.json.decode(body(Request(REQUEST, 3, [payload for _, payload in made]), origin), type=Batch)
    events = [msgspec.json.decode(raw, type=Envelope) for raw in batch.events]

    assert (str(batch.request_id), batch.attempt, batch.sdk) == (REQUEST, 3, "python/0.1.0")
    assert (batch.service, batch.hostname, batch.environment) == ("billing", "web-1", None)
    assert abs((datetime.now(timezone.utc) - batch.sent_at).total_seconds()) < 60
    assert [(str(one.id), one.event) for one in events] == [(made[n][0], event(n)) for n in range(2)]
    assert abs((batch.sent_at - events[0].timestamp).total_seconds()) < 60


def test_answer__of_the_server__gives_verdicts_by_index() -> None:
    verdicts = [Verdict(1, "rejected", field="$.event.email", reason="invalid"), Verdict(0, "accepted")]
    answer = msgspec.json.encode(Answer(UUID(REQUEST), verdicts))

    assert outcome(200, answer, 2.0, REQUEST) == Answered({1: verdicts[0], 0: verdicts[1]}, 2.0)
    assert b'{"index":0,"verdict":"accepted"}' in answer


def test_outcome__every_status__says_whose_fault_it_is() -> None:
    statuses = (302, 400, 401, 403, 404, 405, 408, 413, 415, 422, 425, 429, 500, 503)

    unreadable = {status for status in statuses if isinstance(outcome(status, b"", None, REQUEST), Unreadable)}

    assert unreadable == {400, 413, 415, 422}
    assert outcome(503, b"", 7.0, REQUEST) == Away("http_503", 7.0)


def test_outcome__success_that_says_nothing__is_none() -> None:
    other = msgspec.json.encode(Answer(UUID(int=1), []))

    reasons = [outcome(200, answer, None, REQUEST) for answer in (b"", b"[]", b'{"received": 3}', other)]

    assert reasons == [*[Away("answer_unreadable")] * 3, Away("answer_to_another_request")]
