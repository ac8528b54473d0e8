"""Errors of the API as RFC 9457 has them: what went wrong, and what the caller can do about it.

What is forbidden and what does not exist is the same problem, word for word.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.errors import Refused
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.failures import reason_and_place
from analytics_pipeline.flows.reporting.errors import UnknownAccount
from analytics_pipeline.resources.clickhouse.errors import error_code
from analytics_pipeline.resources.feature_flags import FlagsUnavailable

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# ClickHouse's codes for a question that is larger than a question may be: rows, time, memory, result, bytes.
_TOO_LARGE = frozenset({158, 159, 241, 307, 396})


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its place in the list of kinds, and what it is called."""

    slug: str
    status: HTTPStatus
    title: str
    repair: str


class Problem(Exception):
    """An answer that is a problem. `detail` is shown, so it holds nothing of anybody else's."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.kind, self.detail, self.headers = kind, detail, dict(headers or {})
        super().__init__(detail)


class ProblemDetails(BaseModel):
    """The body of every error (RFC 9457), with what to do about it."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is nothing of that name here, or not for this token."])
    repair: str = Field(
        examples=["Check the path. Ask an operator which scope the token has: analytics-pipeline token"]
    )


UNAUTHENTICATED = Kind(
    "unauthenticated",
    HTTPStatus.UNAUTHORIZED,
    "A valid token is needed",
    "Send the header `Authorization: Bearer <token>`. An operator makes tokens: analytics-pipeline token",
)
NOT_FOUND = Kind(
    "not-found",
    HTTPStatus.NOT_FOUND,
    "Not found",
    "Check the path. Ask an operator which scope the token has: analytics-pipeline token",
)
METHOD = Kind("method", HTTPStatus.METHOD_NOT_ALLOWED, "Only reads are answered", "Use GET or HEAD.")
INVALID = Kind(
    "invalid-question", HTTPStatus.BAD_REQUEST, "The question cannot be answered", "Change what `detail` names."
)
NOT_ACCEPTABLE = Kind(
    "not-acceptable",
    HTTPStatus.NOT_ACCEPTABLE,
    "No such format",
    "Accept application/json, text/csv, application/x-ndjson or application/vnd.apache.parquet.",
)
TOO_MANY = Kind(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "Wait for the seconds of Retry-After. API_REQUESTS_PER_MINUTE and API_REQUESTS_PER_DAY set the limits.",
)
TOO_LARGE_BODY = Kind(
    "body-too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large", "Reads need no body: send none."
)
TOO_LARGE = Kind(
    "question-too-large",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The question is too large",
    "Ask for fewer days, or for one agent, inbox or namespace.",
)
UNAVAILABLE = Kind(
    "unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "A store does not answer",
    "Try again later. An operator finds out why with: analytics-pipeline doctor",
)
NOT_CONFIGURED = Kind(
    "not-configured",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "A store has no address yet",
    "Set the variable for this service and start it again. What else is missing: analytics-pipeline doctor",
)
NOT_AVAILABLE = Kind(
    "not-available",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "This is not switched on or not there yet",
    "Nothing is answered with emptiness instead. See: analytics-pipeline enablement status",
)
DEFECT = Kind(
    "defect", HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of the service", "Tell an operator: the log has the cause."
)
KINDS = (
    UNAUTHENTICATED,
    NOT_FOUND,
    METHOD,
    INVALID,
    NOT_ACCEPTABLE,
    TOO_MANY,
    TOO_LARGE_BODY,
    TOO_LARGE,
    UNAVAILABLE,
    NOT_CONFIGURED,
    NOT_AVAILABLE,
    DEFECT,
)

_EXPECTED: tuple[type[Exception], ...] = (
    HTTPException,
    RequestValidationError,
    Problem,
    Refused,
    NotConfigured,
    ConnectionError,
    ClickHouseError,
    FlagsUnavailable,
)
_NOTHING_HERE = "There is nothing of that name here, or not for this token."


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems of these statuses for the OpenAPI document."""
    problem = {"model": ProblemDetails, "content": {MEDIA_TYPE: {}}}
    return {status: {**problem, "description": HTTPStatus(status).phrase} for status in statuses}


def not_found() -> Problem:
    """The one problem of what does not exist and of what is not the caller's to see."""
    return Problem(NOT_FOUND, _NOTHING_HERE)


def problem_of(error: Exception) -> Problem:
    """The problem that an exception is, with nothing in it that the caller may not see."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnknownAccount):
        return not_found()
    if isinstance(error, NotAvailable):
        return Problem(NOT_AVAILABLE, str(error))
    if isinstance(error, Refused):
        return Problem(INVALID, str(error))
    if isinstance(error, NotConfigured):
        return Problem(NOT_CONFIGURED, f"{error}.")
    if isinstance(error, RequestValidationError):
        return Problem(INVALID, _mistakes(error))
    if isinstance(error, ClickHouseError) and error_code(error) in _TOO_LARGE:
        return Problem(TOO_LARGE, "It reads more rows, memory or time than one question may.")
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, ConnectionError | ClickHouseError | FlagsUnavailable):
        # Its text names addresses.
        return Problem(UNAVAILABLE, "A store that the answer needs does not answer, or refuses.")
    return Problem(DEFECT, "It could not be answered because of a defect.")


def told(error: Exception) -> Problem:
    """The problem that a request has ended with; what is no caller's fault is logged."""
    found = problem_of(error)
    if found.kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Problem):
        logger.error("a request failed: %s", reason_and_place(error))
    return found


def response_of(error: Exception) -> JSONResponse:
    """The answer to a request that ended with the exception."""
    found = told(error)
    details = ProblemDetails(
        type=f"/problems/{found.kind.slug}",
        title=found.kind.title,
        status=found.kind.status,
        detail=found.detail,
        repair=found.kind.repair,
    )
    headers = {"Cache-Control": "no-store", **found.headers}
    return JSONResponse(details.model_dump(), found.kind.status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI, answer: Callable[[Request, Exception], Response]) -> None:
    """Let expected exceptions be answered as problems. Any other is a defect, which `Guard` answers."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, error)

    for kind in _EXPECTED:
        app.add_exception_handler(kind, handle)


def _of_http(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return Problem(METHOD, "This is a read API.", error.headers)
    return not_found()


def _mistakes(error: RequestValidationError) -> str:
    """The parameters that are wrong, and how; never what was sent."""
    found: list[Mapping[str, Any]] = list(error.errors())
    # A parameter that several parts of a route take is named once.
    return "; ".join({f"{one['loc'][-1]}: {one['msg']}": None for one in found[:10]})
