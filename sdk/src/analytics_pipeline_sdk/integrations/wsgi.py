"""WSGI middleware: an `ApiRequest` for each request (Flask, Django, Bottle and whatever speaks WSGI)."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID

from analytics_pipeline_sdk.events import ApiRequest, Event
from analytics_pipeline_sdk.integrations.endpoints import UNMATCHED, templated

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
Track = Callable[[Event], object]


class AnalyticsMiddleware:
    """Tracks requests with `track`, a client's method, when the last byte was given to the server.

    `endpoint` gives the route's template for an environ, if it is known better than here: the rule that Flask leaves
    there, else the path without what may be an id. `user_id` gives the user of a request.
    """

    def __init__(
        self,
        app: App,
        track: Track,
        service: str,
        endpoint: Callable[[Environ], str | None] | None = None,
        user_id: Callable[[Environ], UUID | None] | None = None,
    ) -> None:
        self._app = app
        self._track = track
        self._service = service
        self._endpoint = endpoint or route_of
        self._user_id = user_id

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        began, status, endpoint = time.perf_counter(), 500, UNMATCHED

        def watching(line: str, *rest: Any) -> Callable[[bytes], object]:
            nonlocal status, endpoint
            # Now is the time to ask: Flask takes the request out of the environ before the body is sent.
            status, endpoint = int(line[:3]), self._template(environ)
            return start_response(line, *rest)

        body: Iterable[bytes] = ()
        try:
            body = self._app(environ, watching)
            yield from body
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
            self._record(environ, status, endpoint, time.perf_counter() - began)

    def _template(self, environ: Environ) -> str:
        with contextlib.suppress(Exception):  # no request fails because it could not be counted
            return self._endpoint(environ) or UNMATCHED
        return UNMATCHED

    def _record(self, environ: Environ, status: int, endpoint: str, seconds: float) -> None:
        with contextlib.suppress(Exception):
            self._track(
                ApiRequest(
                    service=self._service,
                    endpoint=UNMATCHED if status == 404 else endpoint,
                    method=str(environ["REQUEST_METHOD"]),
                    status_code=status,
                    duration_ms=round(seconds * 1000),
                    user_id=self._user_id(environ) if self._user_id else None,
                )
            )


def route_of(environ: Environ) -> str:
    """The template of the route that took the request."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if isinstance(rule, str):
        return str(environ.get("SCRIPT_NAME", "")) + rule
    return templated(str(environ.get("SCRIPT_NAME", "")) + str(environ.get("PATH_INFO", "")))
