"""Answers of routes: what a route returns, and all that makes an HTTP response of it.

A route is a function that returns a `Listing` or a `Figure`. `listing` and `figure` register it, and with that give it
the formats, the envelope with its coverage, ETag and 304, and its part of the OpenAPI document.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import wraps
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from analytics_pipeline.api import formats
from analytics_pipeline.api.paging import Taken
from analytics_pipeline.api.problems import documented

Row = TypeVar("Row")
Route = Callable[..., Any]

_RANGES_IN_HEADER = 50
_SHORT = re.compile(r"\b(ai|api)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Told:
    """How far an answer can be trusted, which every answer says.

    `source` tells where it was read. `missing` are UTC days, both ends inclusive, whose data it lacks. `as_of` is when
    the oldest part of it was read from the product; None: it is not known. `reason` says why something is unknown.
    """

    source: str
    as_of: datetime | None = None
    missing: tuple[tuple[date, date], ...] = ()
    reason: str | None = None

    @property
    def coverage(self) -> Literal["complete", "partial", "unknown"]:
        if self.reason is not None:
            return "unknown"
        return "partial" if self.missing else "complete"


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """A page of a list."""

    page: Taken[Row]
    told: Told


@dataclass(frozen=True)
class Figure(Generic[Row]):
    """One row. None: it is unknown, and `told` has the reason."""

    row: Row | None
    told: Told


class DayRange(BaseModel):
    """Days, both ends inclusive."""

    first: date
    last: date


class Envelope(BaseModel):
    """The part of every answer that tells of itself."""

    source: str = Field(description="Where it was read.", examples=["rollup"])
    coverage: Literal["complete", "partial", "unknown"] = Field(
        description="partial: the days of `missing` are lacking. unknown: see `reason`.", examples=["complete"]
    )
    missing: list[DayRange] = Field(description="UTC days whose data is lacking.", examples=[[]])
    as_of: datetime | None = Field(description="When the oldest part was read from the product.")
    reason: str | None = Field(description="Why something is unknown.", examples=[None])


class PageOf(Envelope, Generic[Row]):
    """A page of a list."""

    data: list[Row]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null: this is the last one.")


class One(Envelope, Generic[Row]):
    """One figure; null when it is unknown."""

    data: Row | None


def listing(
    router: APIRouter, path: str, row: type[Any], example: Mapping[str, Any], *, version: Route | None = None
) -> Callable[[Route], Route]:
    """Register a route that returns a `Listing` of these rows.

    `version`, of some of the route's arguments, tells the state of everything that the answer is made of, or None
    while that can change unseen. Where it does, the ETag is made of it, and a client that has the answer is told so
    before ClickHouse is asked.
    """
    return _registered(router, path, row, PageOf[row], {**_ENVELOPE, "data": [example], "next_cursor": None}, version)  # type: ignore[valid-type]


def figure(
    router: APIRouter, path: str, row: type[Any], example: Mapping[str, Any], *, version: Route | None = None
) -> Callable[[Route], Route]:
    """Register a route that returns a `Figure`; see `listing`."""
    return _registered(router, path, row, One[row], {**_ENVELOPE, "data": example}, version)  # type: ignore[valid-type]


_ENVELOPE: Mapping[str, Any] = {
    "source": "ledger",
    "coverage": "complete",
    "missing": [],
    "as_of": "2026-11-27T09:00:00Z",
    "reason": None,
}


def _registered(
    router: APIRouter, path: str, row: type[Any], model: type[BaseModel], example: Any, version: Route | None
) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        summary = _SHORT.sub(lambda word: word[0].upper(), function.__name__.replace("_", " ").capitalize())
        added = router.get(path, summary=summary, responses=_responses(model, example), response_class=Response)
        added(_endpoint(function, row, version))
        return function

    return register


def _responses(model: type[BaseModel], example: Any) -> dict[int | str, dict[str, Any]]:
    cells = {media: {"schema": {"type": "string"}} for media in formats.MEDIA_TYPES[1:]}
    told = {
        "X-Answer": {"description": "The envelope, as JSON, where the body has none.", "schema": {"type": "string"}}
    }
    return {
        200: {"model": model, "headers": told, "content": {formats.JSON: {"example": example}, **cells}},
        304: {"description": "The client has the answer of `If-None-Match` already."},
        **documented(400, 401, 404, 406, 413, 422, 429, 503),
    }


def _endpoint(function: Route, row: type[Any], version: Route | None) -> Route:
    """The function with the request as a further argument, whose result becomes a response."""

    @wraps(function)
    def endpoint(request: Request, **values: Any) -> Response:
        media = formats.negotiated(request.headers.get("accept"))
        told = version and version(**{name: values[name] for name in inspect.signature(version).parameters})
        known = told and _tag(str(request.url), _scope(request), media, told)
        if known and _has(request, known):
            return _unchanged(known)
        answer = function(**values)
        tag = known or f"W/{_tag(media, _content(answer))}"
        if _has(request, tag):
            return _unchanged(tag)
        response = _response(request, media, row, answer)
        response.headers.update(_cached(tag))
        return response

    asked = inspect.signature(function)
    own = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
    endpoint.__signature__ = asked.replace(parameters=[own, *asked.parameters.values()])  # type: ignore[attr-defined]
    return endpoint


def _content(answer: Listing[Any] | Figure[Any]) -> bytes:
    """Everything that an answer says but for when it was read, which may be now."""
    said = {**_envelope(answer.told), "as_of": None}
    return formats.json_of(
        (said, answer.row if isinstance(answer, Figure) else (answer.page.rows, answer.page.next_cursor))
    )


def _response(request: Request, media: str, row: type[Any], answer: Listing[Any] | Figure[Any]) -> Response:
    envelope = _envelope(answer.told)
    if isinstance(answer, Figure):
        rows: Sequence[Any] = () if answer.row is None else (answer.row,)
        body: dict[str, Any] = {**envelope, "data": answer.row}
        following = None
    else:
        rows, following = answer.page.rows, answer.page.next_cursor
        body = {**envelope, "data": rows, "next_cursor": following}
    links = _links(request, following) if following else {}
    if media == formats.JSON:
        return Response(formats.json_of(body), headers=links, media_type=media)
    shown = {**envelope, "missing": envelope["missing"][:_RANGES_IN_HEADER], "next_cursor": following}
    told = {"X-Answer": json.dumps(msgspec.to_builtins(shown))}
    return Response(formats.rendered(media, row, rows), headers={**links, **told}, media_type=media)


def _links(request: Request, following: str) -> dict[str, str]:
    """The next page as a header, which holds nothing but ASCII."""
    address = request.url.replace(path=quote(request.scope["path"])).include_query_params(cursor=following)
    return {"Link": f'<{address}>; rel="next"'}


def _envelope(told: Told) -> dict[str, Any]:
    return {
        "source": told.source,
        "coverage": told.coverage,
        "missing": [{"first": first, "last": last} for first, last in told.missing],
        "as_of": told.as_of,
        "reason": told.reason,
    }


def _scope(request: Request) -> str:
    """Whose answer it is: the same question of two scopes has two answers."""
    return str(request.scope["state"].get("scope"))


def _tag(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return f'"{digest.hexdigest()}"'


def _has(request: Request, tag: str) -> bool:
    sent = request.headers.get("if-none-match", "")
    return tag.removeprefix("W/") in {one.strip().removeprefix("W/") for one in sent.split(",")}


def _unchanged(tag: str) -> Response:
    return Response(status_code=304, headers=_cached(tag))


def _cached(tag: str) -> dict[str, str]:
    """A cache keeps the answer for this client alone, and asks each time whether it still holds, which costs little."""
    return {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, Cookie"}
