"""Headers of every answer: of security, limits and cost. And what no request has: a body."""

import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analytics_pipeline.api.problems import INVALID, TOO_LARGE_BODY, Problem, response_of
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
    """Middleware around the application. A page may have a policy of its own, which stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        began = time.perf_counter()

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                told = {**SECURITY, **state.get("headers", {}), "Server-Timing": _timing(state.get("cost"), began)}
                for name, value in told.items():
                    headers.setdefault(name, value)
            await send(message)

        if _length(scope) > LARGEST_BODY:
            error = Problem(TOO_LARGE_BODY, f"The most is {LARGEST_BODY:,} bytes.", {"Connection": "close"})
            await response_of(error)(scope, receive, completed)
            return
        if _holds_nul(scope):
            error = Problem(INVALID, "No text that is asked for holds the character NUL.")
            await response_of(error)(scope, receive, completed)
            return
        await self._app(scope, receive, completed)


def _holds_nul(scope: Scope) -> bool:
    """Whether the path or a parameter has the character that no text of Postgres has."""
    return "\0" in scope["path"] or b"%00" in scope["query_string"] or b"\0" in scope["query_string"]


def _length(scope: Scope) -> int:
    """Bytes of the body that the request announces. One of unknown length is too long: no read needs one."""
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers and scope["method"] in ("GET", "HEAD"):
        return LARGEST_BODY + 1
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else LARGEST_BODY + 1


def _timing(cost: Cost | None, began: float) -> str:
    spent = cost or Cost()
    total = (time.perf_counter() - began) * 1000
    told = f"{spent.statements} queries, {spent.read_rows} rows read"
    return f'clickhouse;desc="{told}";dur={spent.seconds * 1000:.1f}, total;dur={total:.1f}'
