"""Questions about product events of an organisation, and their answers as lists and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from analytics_pipeline.api.access import Id, Organisation
from analytics_pipeline.api.answers import Figure, Listing, Told
from analytics_pipeline.api.days import Days
from analytics_pipeline.api.paging import Page, follow
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.product_events.reads.plan import Coverage
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading
from analytics_pipeline.flows.product_events.reads.version import version


def new_router() -> APIRouter:
    """A router for questions about an organisation's events."""
    return APIRouter(tags=["product events"], prefix="/organisations/{organisation}/events")


@dataclass(frozen=True)
class Question:
    """A reading and the days that it is asked about."""

    reading: Reading
    query: EventQuery


def reading_of(stores: Stores) -> Reading:
    """The reads as of now."""
    now = datetime.now(timezone.utc)
    return Reading(stores.clickhouse, stores.postgres, stores.settings.event_retention_days, now)


def _question(stores: Organisation, organisation: Id, days: Days) -> Question:
    return Question(reading_of(stores), EventQuery(organisation, days.first, days.last + timedelta(days=1)))


Asked = Annotated[Question, Depends(_question)]


def told_of(coverage: Coverage) -> Told:
    """How far a list can be trusted."""
    return Told(coverage.source, coverage.as_of, coverage.missing)


def version_of(relation: str) -> Callable[[Question], str | None]:
    """Tells the state of an answer that is made of this aggregate, where the ledger knows it."""

    def told(asked: Question) -> str | None:
        reading = asked.reading
        return version(reading.postgres, relation, asked.query, reading.now.date(), reading.retention_days)

    return told


def list_of(answer: Answer[Any], rows: Sequence[Any], page: Page, key: Callable[[Any], Any], kind: Any) -> Listing[Any]:
    """A page of all rows, of which there are few; the key tells them apart."""
    return Listing(follow(rows, page, key, kind), told_of(answer.coverage))


def figure_of(answer: Answer[Any]) -> Figure[Any]:
    """The one value; where there is none the coverage has the reason."""
    told = told_of(answer.coverage)
    reason = answer.coverage.reason if answer.value is None else None
    return Figure(answer.value, Told(told.source, told.as_of, told.missing, reason))
