"""Links that let anybody who has them see one page, as their maker saw it, until they expire.

A link holds the page's address and the scope of its maker, signed with `DASHBOARD_SECRET`; a new secret ends all links.
"""

from dataclasses import asdict
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from analytics_pipeline.api.access import Caller, CallerOf, Scope, service_of
from analytics_pipeline.api.pages.frame.rendering import PLACES, form, notice
from analytics_pipeline.api.pages.session import fields
from analytics_pipeline.api.problems import INVALID, NOT_AVAILABLE, Problem, not_found
from analytics_pipeline.config import Settings

ROUTER = APIRouter(include_in_schema=False)

PREFIX = "/shared/"
DAYS = 30
_NEVER_SHARED = ("/tokens",)


@ROUTER.post("/share")
async def share(request: Request, who: CallerOf) -> Response:
    """Make a link to the page that the form names."""
    address = (await fields(request)).get("page", "")
    path = urlsplit(address).path
    if path in _NEVER_SHARED or path not in {place.path for place in PLACES}:
        raise Problem(INVALID, "page: it is no page that can be shared.")
    signed = _signer(service_of(request).connections.settings).dumps({"page": address, "scope": asdict(who.scope)})
    link = f"{request.url.scheme}://{request.url.netloc}{PREFIX}{signed}"
    return form(request, "shared.html", title="A link to share", link=link, days=DAYS)


class Shared:
    """Middleware: who comes with a link is led to its page, as its maker's scope and nobody else."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            page, granted = _opened(self._settings, scope["path"].removeprefix(PREFIX))
        except Problem as problem:
            scope.setdefault("state", {})
            await notice(Request(scope), problem)(scope, receive, send)
            return
        parts = urlsplit(page)
        # Of what the address itself asks only a panel counts: an open page asks for it again.
        panel = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("panel", [])
        query = "&".join([*filter(None, [parts.query]), *(urlencode({"panel": one}) for one in panel[:1])])
        scope.setdefault("state", {})["shared"] = Caller(f"shared {page}", granted)
        seen = {"path": parts.path, "raw_path": parts.path.encode(), "query_string": query.encode()}
        await self._app({**scope, **seen}, receive, send)


def _opened(settings: Settings, signed: str) -> tuple[str, Scope]:
    try:
        found = _signer(settings).loads(signed, max_age=DAYS * 86_400)
    except SignatureExpired:
        raise Problem(INVALID, "This link has expired: ask who gave it to you for a new one.") from None
    except BadSignature:
        raise not_found() from None
    return found["page"], Scope(**found["scope"])


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    if settings.dashboard_secret is None:
        raise Problem(NOT_AVAILABLE, "Pages cannot be shared: DASHBOARD_SECRET is not set.")
    return URLSafeTimedSerializer(settings.dashboard_secret.get_secret_value(), "analytics_pipeline.shared")
