"""Segments of a project: their sizes, how those went, their members, and the segments of one identity."""

from datetime import date, datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Path, Query

from analytics_pipeline.api.access import Id, InProject, OfProject
from analytics_pipeline.api.answers import Listing, Told, listing
from analytics_pipeline.api.days import DayRange, Days
from analytics_pipeline.api.paging import Paged, PagedSmall, cut, taken
from analytics_pipeline.api.problems import not_found
from analytics_pipeline.flows.segments.reads.identity import Belonging, belongings
from analytics_pipeline.flows.segments.reads.members import Member, Part, members
from analytics_pipeline.flows.segments.reads.sizes import (
    DayCount,
    Mover,
    SegmentSizes,
    biggest_movers,
    days_of,
    history,
    is_on,
    name_of,
    sizes,
    unknown_days,
    unknown_ends,
)
from analytics_pipeline.flows.segments.reads.version import version
from analytics_pipeline.flows.tenants import Environment

ROUTER = APIRouter(tags=["segments"], prefix="/projects/{project}")

_MEMBERSHIP = {
    "environment": 100,
    "environment_name": "Production",
    "count": 1234,
    "status": "counted",
    "reason": "",
    "last_synced_at": "2026-11-27T06:00:00Z",
}


@listing(ROUTER, "/segments", SegmentSizes, {"segment": 1, "name": "Beta testers", "memberships": [_MEMBERSHIP]})
def segments(asked: InProject, page: Paged) -> Listing[SegmentSizes]:
    """The live segments with their current sizes by environment."""
    after = page.after(tuple[int]) or (-1,)
    rows = sizes(asked.stores.postgres, asked.stores.flags, asked.project, after[0], page.limit + 1)
    found = taken(rows, page, lambda row: (row.segment,))
    moments = [one.last_synced_at for row in found.rows for one in row.memberships if one.last_synced_at]
    return Listing(found, Told("ledger", min(moments, default=None)))


_DAY = {
    "date": "2026-11-27",
    "environment": 100,
    "count": 1234,
    "status": "counted",
    "reason": "",
    "computed_at": "2026-11-27T06:00:00Z",
}


def _version(asked: OfProject, days: DayRange) -> str | None:
    """The state of closed days alone: today is counted again and again."""
    if days.last >= datetime.now(timezone.utc).date():
        return None
    return version(asked.stores.postgres, asked.project, days.first, days.last)


def _version_of_counts(asked: InProject, segment: Id, days: Days) -> str | None:
    return None if name_of(asked.stores.postgres, asked.project.id, segment) is None else _version(asked, days)


def _version_of_movers(asked: InProject, days: Days) -> str | None:
    return _version(asked, days)


@listing(ROUTER, "/segments/{segment}/counts", DayCount, _DAY, version=_version_of_counts)
def counts(asked: InProject, segment: Id, days: Days, page: Paged) -> Listing[DayCount]:
    """The segment's size on each day, in each environment."""
    if name_of(asked.stores.postgres, asked.project.id, segment) is None:
        raise not_found()
    last = min(days.last, datetime.now(timezone.utc).date())
    grid = days_of(days.first, last, asked.project.environments)
    found = cut(grid, page, lambda cell: (cell[0], cell[1].id), tuple[date, int])
    rows = history(asked.stores.clickhouse, asked.project, segment, found.rows)
    return Listing(found.of(rows), Told("segment_counts", missing=tuple(unknown_days(rows))))


_MOVER = {"segment": 1, "name": "Beta testers", "before": 1000, "now": 1234}


@listing(ROUTER, "/segment-movers", Mover, _MOVER, version=_version_of_movers)
def segment_movers(asked: InProject, days: Days, page: PagedSmall) -> Listing[Mover]:
    """The segments whose size over all environments changed the most between the first day and the last."""
    stores = asked.stores
    found = biggest_movers(stores.clickhouse, stores.postgres, asked.project, days.first, days.last, 200)
    ranked = list(enumerate(found))
    chosen = cut(ranked, page, lambda row: (row[0],), tuple[int])
    told = Told("segment_counts", missing=tuple(unknown_ends(found, days.first, days.last)))
    return Listing(chosen.of([mover for _, mover in chosen.rows]), told)


_ADA = {"identifier": "ada", "identity_key": "ada", "traits": {"plan": "pro"}}


@listing(ROUTER, "/segments/{segment}/members", Member, _ADA)
def segment_members(
    asked: InProject,
    segment: Id,
    environment: Annotated[int, Query(ge=0, le=2**63 - 1, description="The environment's id.", examples=[100])],
    page: PagedSmall,
    text: Annotated[
        str, Query(alias="q", max_length=200, description="A part of the identifier, in any case.", examples=["ad"])
    ] = "",
) -> Listing[Member]:
    """The segment's members in an environment, by identifier, in its newest snapshot.

    Who the members are of a segment that SQL cannot say exactly is unknown: the list is empty, and `reason` says why.
    """
    place = _environment(asked, environment)
    after = page.after(tuple[str]) or (None,)
    stores = asked.stores
    found = members(stores.clickhouse, stores.postgres, place, segment, Part(page.limit + 1, after[0], text))
    if found is None:
        raise not_found()
    as_of = found.snapshot.captured_at if found.snapshot else None
    return Listing(taken(found.found, page, lambda row: (row.identifier,)), Told("snapshot", as_of, (), found.reason))


@listing(
    ROUTER,
    "/environments/{environment}/identities/{identifier:path}/segments",
    Belonging,
    {"segment": 1, "name": "Beta testers", "is_member": True, "reason": ""},
)
def identity_segments(
    asked: InProject,
    environment: Id,
    identifier: Annotated[str, Path(max_length=2_000, description="The identity's identifier.", examples=["ada"])],
    page: Paged,
) -> Listing[Belonging]:
    """Whether the identity is in each of the project's segments, in its newest snapshot."""
    place = _environment(asked, environment)
    found = belongings(asked.stores.clickhouse, asked.stores.postgres, place, identifier)
    if found is None:
        raise not_found()
    shown = cut(found.found, page, lambda row: (row.segment,), tuple[int])
    return Listing(shown, Told("snapshot", found.snapshot.captured_at))


def _environment(asked: OfProject, environment: int) -> Environment:
    """The project's environment, where the feature is on."""
    found = next((one for one in asked.project.environments if one.id == environment), None)
    if found is None or not is_on(asked.stores.flags, asked.project.organisation_id):
        raise not_found()
    return found
