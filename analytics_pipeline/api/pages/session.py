"""Signing in: a token that was checked once goes into a cookie that no script can read and no other site can send."""

from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from analytics_pipeline.api.access import COOKIE, service_of
from analytics_pipeline.api.pages.frame.rendering import form
from analytics_pipeline.api.problems import INVALID, Problem

ROUTER = APIRouter(include_in_schema=False)


@ROUTER.get("/sign-in")
def sign_in(request: Request) -> Response:
    following = _local(request.query_params.get("next", "/"))
    return form(request, "sign-in.html", title="Sign in", refused="", next=following)


@ROUTER.post("/sign-in")
async def signed_in(request: Request) -> Response:
    sent = await fields(request)
    service, following = service_of(request), _local(sent.get("next", "/"))
    service.limits.spend(f"sign-in {request.client.host if request.client else ''}")
    token = sent.get("token", "").strip()
    if await run_in_threadpool(service.verified, token) is None:
        refused = "This token is not known, has expired, was revoked, or is not for reads."
        return form(request, "sign-in.html", 401, title="Sign in", refused=refused, next=following)
    answer = RedirectResponse(following, 303)
    is_secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=is_secure, path="/")
    return answer


@ROUTER.post("/sign-out")
async def signed_out(request: Request) -> Response:
    await fields(request)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/")
    return answer


async def fields(request: Request) -> dict[str, str]:
    """The fields of a form of ours.

    Raises:
        Problem: the form stands on a page of somebody else.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.url.netloc:
        raise Problem(INVALID, "This form was sent from another site.")
    body = (await request.body()).decode("utf-8", "replace")
    return {name: values[0] for name, values in parse_qs(body, max_num_fields=10).items()}


def _local(address: str) -> str:
    """An address of this service; what could lead elsewhere leads to the overview."""
    parts = urlsplit(address)
    leads_elsewhere = parts.scheme or parts.netloc or address[:2] in ("//", "/\\")
    return address if address.startswith("/") and address.isprintable() and not leads_elsewhere else "/"
