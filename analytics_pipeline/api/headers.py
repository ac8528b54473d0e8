"""Headers of every answer: of security, limits and cost. And what no request has: a body."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analytics_pipeline.api.limits import Spent
from analytics_pipeline.api.problems import INVALID, TOO_LARGE_BODY, Problem, response_of
from analytics_pipeline.api.stores import Scope as TokenScope
from analytics_pipeline.resources.clickhouse.accounting import Cost

LARGEST_BODY = 64 * 1024
SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Middleware around the application. A page may have a policy of its own, which stays.

    `answer` is how a request that a defect has ended is answered: by the server itself it would be without headers.
    """

    def __init__(self, app: ASGIApp, answer: Callable[[Request, Exception], Response]) -> None:
        self._app, self._answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        completed = _Completed(scope.setdefault("state", {}), send, is_head=scope["method"] == "HEAD")
        error = _refusal(scope)
        if error is not None:
            await response_of(error)(scope, receive, completed)
            return
        asked = {**scope, "method": "GET"} if completed.is_head else scope
        try:
            await self._app(asked, receive, completed)
        except Exception as defect:
            if not completed.has_begun:
                await self._answer(Request(asked), defect)(asked, receive, completed)
            raise


class _Completed:
    """Sends an answer with the headers that every one has; of one to HEAD no body."""

    def __init__(self, state: Mapping[str, Any], send: Send, *, is_head: bool) -> None:
        self._state, self._send, self.is_head = state, send, is_head
        self._began = time.perf_counter()
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in {**SECURITY, **self._told()}.items():
                headers.setdefault(name, value)
        elif self.is_head:
            message = {**message, "body": b""}
        await self._send(message)

    def _told(self) -> dict[str, str]:
        cost: Cost = self._state.get("cost") or Cost()
        spent: Spent | None = self._state.get("spent")
        limits = spent.settled(cost.statements) if spent else {}
        return {**limits, "Server-Timing": _timing(cost, self._began, self._state.get("scope"))}


def _refusal(scope: Scope) -> Problem | None:
    """Why a request is none that can be answered."""
    if _length(scope) > LARGEST_BODY:
        return Problem(TOO_LARGE_BODY, f"The most is {LARGEST_BODY:,} bytes.", {"Connection": "close"})
    if not _is_text(scope):
        return Problem(INVALID, "What is asked for is UTF-8, without the character NUL.")
    return None


def _is_text(scope: Scope) -> bool:
    """Whether path and parameters are UTF-8, without the character that no text of Postgres has."""
    try:
        query = scope["query_string"].decode()
    except UnicodeDecodeError:
        return False
    return "\0" not in scope["path"] and "\0" not in query and "%00" not in query


def _length(scope: Scope) -> int:
    """Bytes of the body that the request announces. One of unknown length is too long: no form needs one."""
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return LARGEST_BODY + 1
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else LARGEST_BODY + 1


def _timing(cost: Cost, began: float, scope: TokenScope | None) -> str:
    """Cost of the answer. Days are compared of all tenants together: how many rows that is, no tenant is told."""
    total = (time.perf_counter() - began) * 1000
    told = f"{cost.statements} queries"
    if scope is not None and scope.is_everything:
        told += f", {cost.read_rows} rows read"
    return f'clickhouse;desc="{told}";dur={cost.seconds * 1000:.1f}, total;dur={total:.1f}'
