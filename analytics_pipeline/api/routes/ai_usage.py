"""AI usage of a namespace and everything below it, or of the instance."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.answers import Figure, Listing, Told, figure, listing
from analytics_pipeline.api.days import Days
from analytics_pipeline.api.paging import Paged, cut, taken
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.ai_usage.reads import AiUsageReads, Scope, UserUsage, check_available
from analytics_pipeline.flows.ai_usage.reads.events import AiEvent, Wanted, events
from analytics_pipeline.flows.ai_usage.reads.languages import LanguageUsage, languages
from analytics_pipeline.flows.ai_usage.reads.version import version

ROUTER = APIRouter(tags=["ai usage"], prefix="/ai-usage")
_LARGEST = 2**63 - 1
UserId = Annotated[int, Query(ge=0, le=_LARGEST)]


async def _scope(
    days: Days,
    namespace: Annotated[
        str, Query(max_length=500, description="Path of ids from the top; all without it.", examples=["1/2/"])
    ] = "",
    language: Annotated[
        list[str], Query(max_length=50, description="Narrows code suggestions.", examples=[["go"]])
    ] = [],  # noqa: B006 - FastAPI makes a new one for each request
) -> Scope:
    return Scope(namespace, days.first, days.last, tuple(language))


Asked = Annotated[Scope, Depends(_scope)]


def _reads(stores: Stores) -> AiUsageReads:
    check_available(stores.postgres)
    return AiUsageReads(stores.clickhouse, stores.postgres)


def _told(reads: AiUsageReads, scope: Scope, source: str = "ai_usage_daily") -> Told:
    return Told(source, missing=tuple(reads.missing(scope)))


def _version(stores: Stores, scope: Scope) -> str | None:
    """The state of closed days alone: today's can change at any time."""
    if scope.last >= datetime.now(timezone.utc).date():
        return None
    check_available(stores.postgres)
    return version(stores.postgres, scope)


@dataclass(frozen=True)
class AiMetrics:
    """Figures of a namespace. Users are distinct over the whole range; the rate is null when nothing was shown."""

    contributors: int
    code_contributors: int
    shown: int
    accepted: int
    rejected: int
    acceptance_rate: float | None
    shown_lines: int
    accepted_lines: int
    languages: tuple[str, ...]
    chat_users: int
    chat_questions: int
    events: dict[str, int]


_METRICS = {
    "contributors": 12,
    "code_contributors": 9,
    "shown": 200,
    "accepted": 80,
    "rejected": 60,
    "acceptance_rate": 0.4,
    "shown_lines": 900,
    "accepted_lines": 300,
    "languages": ["go", "python"],
    "chat_users": 7,
    "chat_questions": 31,
    "events": {"code_suggestion_shown_in_ide": 200},
}


@figure(ROUTER, "/metrics", AiMetrics, _METRICS, version=_version)
def ai_metrics(stores: Instance, scope: Asked) -> Figure[AiMetrics]:
    """All figures of a namespace, and how often each event happened."""
    reads = _reads(stores)
    code, chat = reads.code_suggestions(scope), reads.chat(scope)
    found = AiMetrics(
        reads.contributors(scope),
        code.contributors,
        code.shown,
        code.accepted,
        code.rejected,
        code.acceptance_rate,
        code.shown_lines,
        code.accepted_lines,
        code.languages,
        chat.users,
        chat.questions,
        reads.events(scope),
    )
    return Figure(found, _told(reads, scope))


_USER = {
    "user_id": 7,
    "total": 40,
    "events": {"code_suggestion_shown_in_ide": 40},
    "last_activity_at": "2026-11-27T09:00:00Z",
}


@listing(ROUTER, "/users", UserUsage, _USER, version=_version)
def ai_users(
    stores: Instance,
    scope: Asked,
    page: Paged,
    user: Annotated[list[UserId], Query(max_length=1_000, description="Only these users.", examples=[[7]])] = [],  # noqa: B006
) -> Listing[UserUsage]:
    """Users by how many events they have, the busiest first."""
    reads = _reads(stores)
    rows = reads.users(scope, user, limit=page.limit + 1, after=page.after(tuple[int, int]))
    return Listing(taken(rows, page, lambda row: (row.total, row.user_id)), _told(reads, scope))


_LANGUAGE = {
    "language": "go",
    "contributors": 4,
    "shown": 100,
    "accepted": 40,
    "rejected": 30,
    "acceptance_rate": 0.4,
}


@listing(ROUTER, "/languages", LanguageUsage, _LANGUAGE, version=_version)
def ai_languages(stores: Instance, scope: Asked, page: Paged) -> Listing[LanguageUsage]:
    """Code suggestions by language."""
    reads = _reads(stores)
    rows = languages(stores.clickhouse, scope)
    return Listing(cut(rows, page, lambda row: (row.language,), tuple[str]), _told(reads, scope))


async def _wanted(
    event: Annotated[
        list[str], Query(max_length=100, description="Of these names.", examples=[["request_duo_chat_response"]])
    ] = [],  # noqa: B006
    user: Annotated[list[UserId], Query(max_length=1_000, description="Of these users.", examples=[[7]])] = [],  # noqa: B006
    branch_name: Annotated[str, Query(max_length=500, description="Suggestions on it.", examples=["main"])] = "",
    unique_tracking_id: Annotated[
        str, Query(max_length=500, description="All events of one suggestion.", examples=["a1"])
    ] = "",
    smallest: Annotated[
        int,
        Query(
            alias="min_suggestion_size",
            ge=0,
            le=_LARGEST,
            description="Lines of code at least; of chat they are 0.",
            examples=[1],
        ),
    ] = 0,
    largest: Annotated[
        int, Query(alias="max_suggestion_size", ge=0, le=_LARGEST, description="Lines of code at most.", examples=[100])
    ] = _LARGEST,
) -> Wanted:
    return Wanted(tuple(event), tuple(user), branch_name, unique_tracking_id, smallest, largest)


_EVENT = {
    "timestamp": "2026-11-27T09:00:00Z",
    "feature": "code_suggestions",
    "id": 5,
    "event": "code_suggestion_shown_in_ide",
    "user_id": 7,
    "namespace": "1/2/",
    "language": "go",
    "suggestion_size": 3,
    "branch_name": "main",
    "unique_tracking_id": "a1",
}


@listing(ROUTER, "/events", AiEvent, _EVENT)
def ai_events(
    stores: Instance, scope: Asked, page: Paged, wanted: Annotated[Wanted, Depends(_wanted)]
) -> Listing[AiEvent]:
    """The events themselves, the newest first, narrowed by name, user, and keys of their payload."""
    reads = _reads(stores)
    after = page.after(tuple[datetime, str, int])
    rows = events(stores.clickhouse, scope, wanted, after, page.limit + 1)
    return Listing(taken(rows, page, lambda row: (row.timestamp, row.feature, row.id)), _told(reads, scope, "events"))
