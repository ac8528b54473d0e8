"""A worker of the ingestion service in this process, over stores of the test's own."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from analytics_pipeline.api import tokens
from analytics_pipeline.api.ingestion.app import IngestionApp
from analytics_pipeline.config import Settings
from tests.product import Product

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def verdicts(self) -> list[str]:
        return [one["verdict"] for one in self.json["verdicts"]]


@dataclass
class Worker:
    """One worker, asked over ASGI. `token` is of organisation 1."""

    app: IngestionApp
    loop: asyncio.AbstractEventLoop
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    def run(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, 60)

        return self.loop.run_until_complete(bounded())

    def post(self, body: Any, path: str = "/v1/events/batch", **headers: str) -> Answer:
        return self.run(self.asked("POST", path, body, **headers))

    def get(self, path: str) -> Answer:
        return self.run(self.asked("GET", path, b""))

    async def asked(self, method: str, path: str, body: Any, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        encoded = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        await self.app({"type": "http", "method": method, "path": path, "headers": encoded}, receive, send)
        start, end = messages
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], told, end["body"])


def worker_of(settings: Settings, loop: asyncio.AbstractEventLoop, token: str) -> Worker:
    worker = Worker(IngestionApp(settings), loop, token)
    worker.run(worker.app.begin())
    return worker


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def new_worker(empty_product: Product, loop: asyncio.AbstractEventLoop) -> Iterator[Callable[..., Worker]]:
    """Makes further workers over the same stores."""
    token = tokens.create(empty_product.postgres, "test", "ingest", organisation_id=1).secret
    made: list[Worker] = []

    def new(**changes: Any) -> Worker:
        made.append(worker_of(empty_product.settings.model_copy(update=changes), loop, token))
        return made[-1]

    yield new
    for worker in made:
        worker.run(worker.app.end())


@pytest.fixture
def worker(new_worker: Callable[..., Worker]) -> Worker:
    return new_worker()
