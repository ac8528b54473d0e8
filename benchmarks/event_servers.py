"""Servers that answer batches with verdicts and store nothing: ours, and FastAPI with pydantic."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal, Union, get_type_hints
from uuid import UUID

from fastapi import FastAPI
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model

from analytics_pipeline.api.ingestion.app import IngestionApp
from analytics_pipeline.api.tokens import Token
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.product_events.ingestion import Submission
from analytics_pipeline.flows.product_events.privacy.policy import privacy
from analytics_pipeline.flows.product_events.registry import COLUMN_MEMBERS, Row
from analytics_pipeline_sdk.events import EVENT_TYPES, Event, wire_name


def ours() -> Any:
    """The ingestion service with its stores taken away: every event that becomes a row is accepted."""
    app = IngestionApp(Settings(database_url="postgresql://127.0.0.1:1/x", clickhouse_url="http://127.0.0.1:1/x"))
    begin = app.begin

    async def without_stores() -> None:
        await begin()
        service = app._begun
        service.commits.submit = _accepted  # type: ignore[method-assign]
        service.senders.sender = _anybody  # type: ignore[method-assign, assignment]
        # There is no ledger to add them to.
        service.tally.count = _forget  # type: ignore[method-assign, assignment]

    app.begin = without_stores  # type: ignore[method-assign]
    return app


async def _accepted(submission: Submission) -> None:
    submission.outcomes = ["accepted" if isinstance(one, Row) else one for one in submission.entries]


def _forget(_: Mapping[str, int]) -> None:
    pass


async def _anybody(_: Mapping[bytes, bytes]) -> Token:
    return Token(1, "anybody", "ingest", 1, None, datetime.now(), None, None, None)  # noqa: DTZ005


def theirs() -> FastAPI:
    """As FastAPI's users write it: models of all types, told apart by their tag, each event validated by itself."""
    return _peer(lambda _: None)


def theirs_with_rows() -> FastAPI:
    """The same that does what ours does besides: it checks the time, applies the policy and makes a row."""
    settings = Settings(database_url="postgresql://127.0.0.1:1/x")
    policy, retention = privacy(settings), timedelta(days=settings.event_retention_days)

    def row(found: Any) -> dict[str, Any]:
        now = datetime.now(timezone.utc)
        if not now - retention <= found.timestamp <= now + timedelta(days=1):
            raise ValueError("the time is out of range")
        members = found.event.model_dump()
        kind = members.pop("type")
        policy.treat(kind, 1, members)
        columns = {name: members.pop(name, None) for name in ("user_id", *COLUMN_MEMBERS)}
        return {"organisation_id": 1, "event_id": found.id, "timestamp": found.timestamp, **columns, "data": members}

    return _peer(row)


def _peer(row: Callable[[Any], object]) -> FastAPI:
    envelope: Any = create_model("Envelope", id=(UUID, ...), timestamp=(datetime, ...), event=(_any_event(), ...))

    class Batch(BaseModel):
        request_id: UUID
        attempt: int = 1
        sent_at: datetime
        sdk: str
        hostname: str | None = None
        environment: str | None = None
        service: str | None = None
        events: list[dict[str, Any]]

    class Verdict(BaseModel):
        index: int
        verdict: str
        field: str | None = None
        reason: str | None = None

    class Answer(BaseModel):
        request_id: UUID
        verdicts: list[Verdict]

    app, one = FastAPI(), TypeAdapter(envelope)

    def verdict(index: int, event: dict[str, Any]) -> Verdict:
        try:
            row(one.validate_python(event))
        except ValidationError as error:
            return Verdict(index=index, verdict="rejected", reason=error.errors()[0]["msg"])
        except ValueError as error:
            return Verdict(index=index, verdict="rejected", reason=str(error))
        return Verdict(index=index, verdict="accepted")

    @app.post("/v1/events/batch", response_model_exclude_none=True)
    async def batch(found: Batch) -> Answer:
        return Answer(request_id=found.request_id, verdicts=[verdict(*each) for each in enumerate(found.events)])

    return app


def _any_event() -> Any:
    return Annotated[Union[tuple(_model(kind) for kind in EVENT_TYPES)], Field(discriminator="type")]  # noqa: UP007


def _model(kind: type[Event]) -> Any:
    hints: Mapping[str, Any] = get_type_hints(kind)
    names: Sequence[str] = kind.__struct_fields__
    required = {*names} - {*names[len(names) - len(kind.__struct_defaults__) :]}
    fields: dict[str, Any] = {name: (hints[name], ... if name in required else None) for name in names}
    tag: Any = Literal[wire_name(kind)]
    return create_model(kind.__name__, type=(tag, ...), **fields)
