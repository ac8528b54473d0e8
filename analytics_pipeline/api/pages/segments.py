"""The page of segments: a project's sizes now, what moved, what is unknown and why; one segment over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import CallerOf, OfProject, Within, of_project, within_organisations
from analytics_pipeline.api.pages.frame.charts import Chart, Series
from analytics_pipeline.api.pages.frame.panels import Column, Link, Panel, Table, View, once
from analytics_pipeline.api.pages.frame.ranges import Ranged
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.api.problems import not_found
from analytics_pipeline.flows.segments.reads.projects import projects
from analytics_pipeline.flows.segments.reads.sizes import (
    Membership,
    SegmentSizes,
    biggest_movers,
    days_of,
    history,
    name_of,
    sizes,
)
from analytics_pipeline.flows.tenants import Project

ROUTER = APIRouter(include_in_schema=False)

_SEGMENTS, _MOVERS, _ENVIRONMENTS, _PROJECTS = 200, 10, 6, 500
_TONES = {"counted": "good", "fallback": "good", "failed": "bad", "unknown": "warn"}
Id = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


@dataclass(frozen=True)
class _Asked:
    """The questions of the panels of a project, over days that are both inclusive."""

    of: OfProject
    first: date
    last: date
    sizes: Callable[[], list[SegmentSizes]]

    def now(self) -> View:
        found = self.sizes()
        words = (Column("Segment"), Column("Environment"))
        columns = (*words, Column("Size", "number"), Column("Status", "word"), Column("As of", "moment"))
        rows = [(_link(self.of.project, one), *_cells(place)) for one in found for place in one.memberships]
        note = f"The first {_SEGMENTS} segments." if len(found) == _SEGMENTS else ""
        return View(table=Table(columns, rows, _OFF), note=note)

    def unknown(self) -> View:
        columns = (Column("Segment"), Column("Environment"), Column("Why"))
        rows = [
            (_link(self.of.project, one), place.environment_name, place.reason)
            for one in self.sizes()
            for place in one.memberships
            if place.count is None or place.status == "failed"
        ]
        return View(table=Table(columns, rows, "None: every size is known."))

    def movers(self) -> View:
        stores, project = self.of.stores, self.of.project
        found = biggest_movers(stores.clickhouse, stores.postgres, project, self.first, self.last, _MOVERS)
        columns = (Column("Segment"), Column(str(self.first), "number"), Column(str(self.last), "number"))
        rows = [(Link(one.name, _address(project, one.segment)), one.before, one.now) for one in found]
        return View(table=Table(columns, rows), note="Over all environments.")

    def over_time(self, segment: int) -> View:
        project = self.of.project
        shown = project.environments[:_ENVIRONMENTS]
        grid = days_of(self.first, self.last, shown)
        found = history(self.of.stores.clickhouse, project, segment, grid)
        counts = {(row.date, row.environment): row.count for row in found}
        days = sorted({day for day, _ in grid})
        series = tuple(Series(place.name, tuple(counts[day, place.id] for day in days)) for place in shown)
        note = f"The first {_ENVIRONMENTS} environments." if len(project.environments) > _ENVIRONMENTS else ""
        return View(chart=Chart("Size by day", tuple(map(str, days)), series), note=note)


_OFF = (
    "The project has no live segment, or its organisation has the flag segment_membership_inspection off."
    " Once it is on, the sensor `enablement` has the segments counted: see Enablement."
)


@ROUTER.get("/segments")
def segments(request: Request, who: CallerOf, chosen: Ranged, project: Id = None, segment: Id = None) -> Response:
    if project is None:
        within = within_organisations(request, who)
        choice = Panel("projects", "Projects", lambda: _projects(within), wide=True)
        return page(request, "Segments", [choice], lead="Choose a project.")
    of = of_project(request, who, project)
    first, last = chosen.days(datetime.now(timezone.utc).date())
    asked = _Asked(of, first, last, once(lambda: sizes(of.stores.postgres, of.stores.flags, of.project, -1, _SEGMENTS)))
    panels = [
        *_of_one(asked, segment),
        Panel("sizes", "Sizes now", asked.now, wide=True),
        Panel("movers", "Biggest movers", asked.movers),
        Panel("unknown", "Unknown, and why", asked.unknown),
    ]
    values = {"project": project, "segment": segment, "first": first, "last": last}
    title = f"Segments of {of.project.name}"
    return page(request, title, panels, lead="Days are of UTC.", filters="project.html", **values)


def _of_one(asked: _Asked, segment: int | None) -> Sequence[Panel]:
    if segment is None:
        return ()
    name = name_of(asked.of.stores.postgres, asked.of.project.id, segment)
    if name is None:
        raise not_found()
    return (Panel("size", f"Size of “{name}”", lambda: asked.over_time(segment), wide=True),)


def _projects(within: Within) -> View:
    rows = [
        (str(one.organisation), Link(one.name, f"/segments?project={one.project}"), len(one.environments))
        for one in projects(within.stores.postgres, within.scope.organisation_id)[:_PROJECTS]
    ]
    columns = (Column("Organisation"), Column("Project"), Column("Environments", "number"))
    return View(table=Table(columns, rows, "The product has no project yet."))


def _link(project: Project, one: SegmentSizes) -> Link:
    return Link(one.name, _address(project, one.segment))


def _address(project: Project, segment: int) -> str:
    return f"/segments?project={project.id}&segment={segment}"


def _cells(place: Membership) -> tuple[object, ...]:
    status = f"{_TONES[place.status]}:{place.status}"
    return (place.environment_name, place.count, status, place.last_synced_at or "")
