"""Segments: their sizes, how those went, who is in them, and the segments of one identity."""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from analytics_pipeline.api.access import OfProject
from analytics_pipeline.api.answers import Listing
from analytics_pipeline.api.days import DayRange
from analytics_pipeline.api.paging import Page
from analytics_pipeline.api.problems import not_found
from analytics_pipeline.api.routes import segments as routes
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.segments.reads.sizes import Membership
from analytics_pipeline.flows.tenants import one_project
from analytics_pipeline.reads.frames import MOST, listed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SizeIn:
    """A segment's current size in one environment; None: the organisation has the feature off."""

    segment: int
    name: str
    membership: Membership | None


def sizes(stores: Stores, project: int) -> "pd.DataFrame":
    """Current sizes, a row for each live segment and environment."""
    asked = _project(stores, project)

    def by_environment(page: Page) -> Listing[SizeIn]:
        found = routes.segments(asked, page)
        rows = [SizeIn(row.segment, row.name, one) for row in found.page.rows for one in row.memberships or (None,)]
        return Listing(found.page.of(rows), found.told)

    return listed(by_environment)


def history(stores: Stores, project: int, segment: int, first: date, last: date) -> "pd.DataFrame":
    """Sizes day by day, a row for each day and environment; both ends are inclusive."""
    return listed(routes.counts, asked=_project(stores, project), segment=segment, days=DayRange(first, last))


def movers(stores: Stores, project: int, first: date, last: date) -> "pd.DataFrame":
    """The 200 segments whose size over all environments changed the most between the two days."""
    return listed(routes.segment_movers, asked=_project(stores, project), days=DayRange(first, last))


def members(
    stores: Stores, project: int, segment: int, environment: int, *, text: str = "", most: int = MOST
) -> "pd.DataFrame":
    """Identities that are in the segment, with this text in their identifier; `environment` is an id."""
    asked = _project(stores, project)
    return listed(routes.segment_members, most, asked=asked, segment=segment, environment=environment, text=text)


def of_identity(stores: Stores, project: int, environment: int, identifier: str) -> "pd.DataFrame":
    """Whether one identity is in each segment."""
    asked = _project(stores, project)
    return listed(routes.identity_segments, asked=asked, environment=environment, identifier=identifier)


def _project(stores: Stores, project: int) -> OfProject:
    """Raises Problem where there is no such project."""
    found = one_project(stores.postgres, project)
    if found is None:
        raise not_found()
    return OfProject(found, stores)
