"""The ASGI application: /ping at once, everything else in a thread of its own."""

import asyncio
from concurrent.futures import Executor as ThreadPool

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from analytics_pipeline.embedded.clickhouse.errors import ClickHouseError
from analytics_pipeline.embedded.clickhouse.exchange import Exchange
from analytics_pipeline.embedded.clickhouse.execution import Executor


class _Queries:
    """Hands every request to a thread; a request that the server gives up is woken and waited for.

    One that is refused takes its thread only when its body is in or given up: whoever knows no password must not keep
    threads waiting.
    """

    def __init__(self, executor: Executor, threads: ThreadPool) -> None:
        self._executor = executor
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        admitted = self._executor.admit(scope)
        if isinstance(admitted, ClickHouseError):
            await exchange.discard_body()
        served = asyncio.get_running_loop().run_in_executor(self._threads, self._executor.serve, exchange, admitted)
        try:
            await asyncio.shield(served)
        except asyncio.CancelledError:
            exchange.abort()
            await served
            raise
        finally:
            exchange.end()


def create_app(executor: Executor, threads: ThreadPool) -> Starlette:
    """Returns the application."""
    return Starlette(routes=[Route("/ping", _ping), Route("/", _Queries(executor, threads))])


async def _ping(_: Request) -> PlainTextResponse:
    return PlainTextResponse("Ok.\n")
