"""The ingestion service as an ASGI application. It has no framework: the route to its verdicts is the whole of it."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any
from uuid import UUID

from anyio import to_thread

from analytics_pipeline.api import tokens
from analytics_pipeline.api.ingestion.answers import Answered, Refusal, answered, away
from analytics_pipeline.api.ingestion.bodies import body_of, form_of
from analytics_pipeline.api.ingestion.commits import AWAY_SECONDS, GroupCommit
from analytics_pipeline.api.ingestion.metrics import Metrics
from analytics_pipeline.api.ingestion.senders import Rates, Senders
from analytics_pipeline.api.ingestion.tally import Tally
from analytics_pipeline.api.ingestion.warehouse import Warehouse
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.failures import reason_and_place
from analytics_pipeline.flows.product_events.decoding import Arrived, decoded, decoded_original
from analytics_pipeline.flows.product_events.errors import StoreAway, UnreadableBatch
from analytics_pipeline.flows.product_events.ingestion import Ingestion, Submission
from analytics_pipeline.flows.product_events.ledger import add_verdicts
from analytics_pipeline.flows.product_events.registry import schema
from analytics_pipeline.flows.product_events.rows import row_maker
from analytics_pipeline.resources.kept_sessions import kept_sessions
from analytics_pipeline.resources.postgres import postgres
from analytics_pipeline_sdk.identifiers import uuid7
from analytics_pipeline_sdk.protocol import BATCH_PATH, REQUEST_ID_HEADER, Answer, Verdict

logger = logging.getLogger(__name__)

ORIGINAL_PATH = "/events/batch"
_STORE_SECONDS = 15
# Statuses after which events come again: too many wait, or a store is away.
_SENT_AGAIN = (429, 503)
_NAME = attrgetter("verdict")
_PLAIN = "text/plain; version=0.0.4; charset=utf-8"
Headers = Mapping[bytes, bytes]


@dataclass(frozen=True)
class _Service:
    """The state of a worker that has begun."""

    ingestion: Ingestion
    warehouse: Warehouse
    commits: GroupCommit
    senders: Senders
    tally: Tally


class IngestionApp:
    """One worker. It begins without its stores and says at `/readyz` whether they answer."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self._settings = settings
        self._maker = row_maker(settings)
        self._rates = Rates(settings.event_rate_per_minute)
        self._opened = ExitStack()
        self._service: _Service | None = None
        self._routes: Mapping[tuple[str, str], Callable[[Headers, Any], Awaitable[Answered]]] = {
            ("POST", BATCH_PATH): self._batch,
            ("POST", ORIGINAL_PATH): self._original,
            ("GET", "/v1/events/schema"): self._schema,
            ("GET", "/healthz"): self._healthy,
            ("GET", "/readyz"): self._ready,
            ("GET", "/metrics"): self._metrics,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            self.metrics.requests.labels(answer.status).inc()
            await answer.send(send)

    async def begin(self) -> None:
        """Open what the worker needs; no store is asked."""
        store = replace(postgres(self._settings), lock_seconds=_STORE_SECONDS)
        warehouse = self._opened.enter_context(Warehouse(self._settings, _STORE_SECONDS))
        self._opened.enter_context(kept_sessions())
        pooled = self._opened.enter_context(store.pooled())
        ingestion = Ingestion(store, warehouse.clickhouse, self._maker, tokens.valid)
        tally = Tally(partial(add_verdicts, pooled))
        self._service = _Service(ingestion, warehouse, GroupCommit(self._commit), Senders(pooled), tally)

    async def end(self) -> None:
        """Commit what waits, then close everything."""
        if self._service:
            await self._service.commits.close()
            await self._service.tally.close()
        self._opened.close()

    @property
    def events_waiting(self) -> int:
        """Events that wait to be stored."""
        return self._begun.commits.rows_waiting

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await self.begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.end()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Any, receive: Any) -> Answered:
        # Of an answer to HEAD the server sends the headers alone.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = self._routes.get((method, scope["path"]))
        try:
            if route is None:
                raise _no_route(scope["path"], [method for method, path in self._routes if path == scope["path"]])
            return await route(dict(scope["headers"]), receive)
        except Refusal as refusal:
            return refusal.answer
        except UnreadableBatch as error:
            return Refusal(400, f"the batch cannot be read: {error}").answer
        except Exception as error:  # noqa: BLE001 - the events are the sender's until they were answered for
            logger.error("a request failed: %s", reason_and_place(error))
            return away("the request failed here and is to be sent again", AWAY_SECONDS).answer

    def _commit(self, submissions: Sequence[Submission]) -> None:
        began = time.perf_counter()
        try:
            self._begun.ingestion.commit(submissions)
        except StoreAway:
            self.metrics.failures.inc()
            raise
        self.metrics.commits.observe(time.perf_counter() - began)
        self.metrics.rows.observe(sum(len(one.entries) for one in submissions))

    @property
    def _begun(self) -> _Service:
        if self._service is None:
            raise away("the service has not begun", 1)
        return self._service

    async def _batch(self, headers: Headers, receive: Any) -> Answered:
        form = form_of(headers)
        submission, verdicts, told = await self._taken(headers, receive, lambda body, _: decoded(body, form))
        return answered(Answer(UUID(submission.request_id), verdicts), headers=told)

    async def _original(self, headers: Headers, receive: Any) -> Answered:
        form_of(headers)
        _, verdicts, told = await self._taken(headers, receive, decoded_original)
        received = sum(one.verdict in ("accepted", "duplicate") for one in verdicts)
        return answered({"received": received, "verdicts": verdicts}, headers=told)

    async def _taken(
        self, headers: Headers, receive: Any, read: Callable[[bytes, int], Arrived]
    ) -> tuple[Submission, list[Verdict], dict[str, str]]:
        """The submission of a request, its verdicts, and headers for the answer."""
        token = await self._begun.senders.sender(headers)
        organisation = token.organisation_id or 0
        arrived = read(await body_of(headers, receive), organisation)
        told = self._rates.spend(token.id, len(arrived.events))
        request_id = arrived.head.request_id or _request_id(headers)
        entries = self._maker.made(organisation, arrived, time.time_ns() // 1_000_000)
        submission = Submission(token.id, organisation, str(request_id), entries)
        try:
            await self._committed(submission)
        except Refusal as refusal:
            if refusal.status in _SENT_AGAIN:
                self._count({"retry": len(entries)})
            raise
        verdicts = submission.verdicts()
        self._count(Counter(map(_NAME, verdicts)))
        return submission, verdicts, told

    def _count(self, verdicts: Mapping[str, int]) -> None:
        self.metrics.count(verdicts)
        self._begun.tally.count(verdicts)

    async def _committed(self, submission: Submission) -> None:
        if not submission.entries:
            return
        service = self._begun
        self.metrics.waiting.set(self.events_waiting + len(submission.entries))
        await service.commits.submit(submission)
        self.metrics.waiting.set(self.events_waiting)
        if submission.is_refused:
            service.senders.forget()
            raise Refusal(401, "the token has expired or was revoked", {"WWW-Authenticate": "Bearer"})
        if all(outcome == "retry" for outcome in submission.outcomes):
            raise away("a store is away", AWAY_SECONDS)

    async def _schema(self, _: Headers, __: Any) -> Answered:
        return answered(schema())

    async def _healthy(self, _: Headers, __: Any) -> Answered:
        return answered({"status": "ok"})

    async def _ready(self, _: Headers, __: Any) -> Answered:
        service = self._begun
        missing = await to_thread.run_sync(service.warehouse.missing, service.senders.store)
        return answered({"status": "not ready", "missing": missing}, 503) if missing else answered({"status": "ok"})

    async def _metrics(self, _: Headers, __: Any) -> Answered:
        return Answered(200, self.metrics.shown(), media=_PLAIN)


def _no_route(path: str, methods: Sequence[str]) -> Refusal:
    if methods:
        return Refusal(405, f"use {' or '.join(methods)}", {"Allow": ", ".join(methods)})
    return Refusal(404, f"events go to {BATCH_PATH}")


def _request_id(headers: Headers) -> UUID:
    """The id that the sender gave the request, or one that is made here."""
    try:
        return UUID(headers.get(REQUEST_ID_HEADER.lower().encode(), b"").decode("latin-1"))
    except ValueError:
        return UUID(uuid7(time.time_ns()))


def create_app() -> IngestionApp:
    """The application of the environment's settings; a worker process makes its own."""
    return IngestionApp(Settings.load())
