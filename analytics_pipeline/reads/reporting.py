"""Reports of an account. A `ReportQuery` says which account, when, along what, and in which zone's days."""

from datetime import timezone, tzinfo
from typing import TYPE_CHECKING

from analytics_pipeline.api.routes import reporting as routes
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.reporting.reads.periods import GroupBy
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.zones import zone
from analytics_pipeline.reads.frames import MOST, figured, listed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ReportQuery", "bots", "events", "overview", "report", "share", "summary", "timeseries"]


def report(stores: Stores, query: ReportQuery, metric: str) -> "pd.DataFrame":
    """A metric over the whole range."""
    return figured(routes.report, stores=stores, metric=metric, query=query)


def timeseries(stores: Stores, query: ReportQuery, metric: str, group_by: GroupBy = "day") -> "pd.DataFrame":
    """A metric in each period, also the empty ones; `period` is in the query's zone, or in UTC without one."""
    found = listed(routes.time_series, stores=stores, metric=metric, query=query, group_by=group_by)
    found["period"] = found["period"].dt.tz_convert(_zone(query))
    return found


def _zone(query: ReportQuery) -> tzinfo:
    if query.timezone is None:
        return timezone.utc
    return zone(query.timezone) if isinstance(query.timezone, str) else timezone(query.timezone)


def summary(stores: Stores, query: ReportQuery) -> "pd.DataFrame":
    """All figures for each agent, inbox or team, by the query's dimension, and those of the same time before."""
    return listed(routes.summary, stores=stores, query=query)


def overview(stores: Stores, query: ReportQuery) -> "pd.DataFrame":
    """All figures but the bots', beside those of the same time before."""
    return listed(routes.overview, stores=stores, query=query)


def bots(stores: Stores, query: ReportQuery) -> "pd.DataFrame":
    """Resolutions and handoffs of bots, beside those of the same time before."""
    return listed(routes.bot_summary, stores=stores, query=query)


def events(stores: Stores, query: ReportQuery, metric: str, *, most: int = MOST) -> "pd.DataFrame":
    """The events, or conversations, that a figure counts, the newest first."""
    return listed(routes.events_behind, most, stores=stores, metric=metric, query=query)


def share(stores: Stores, query: ReportQuery, metric: str, target_seconds: float) -> "pd.DataFrame":
    """How many events of a duration took at most the target."""
    return figured(routes.share_within_target, stores=stores, metric=metric, query=query, target_seconds=target_seconds)
