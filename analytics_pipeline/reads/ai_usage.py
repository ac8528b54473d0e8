"""AI usage. A `Scope` says of which namespace and days, and narrows code suggestions to languages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analytics_pipeline.api.routes import ai_usage as routes
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.ai_usage.reads import Scope
from analytics_pipeline.flows.ai_usage.reads.events import Wanted
from analytics_pipeline.reads.frames import MOST, figured, listed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Scope", "Wanted", "events", "languages", "metrics", "users"]


def metrics(stores: Stores, scope: Scope) -> "pd.DataFrame":
    """All figures of a namespace, as one row."""
    return figured(routes.ai_metrics, stores=stores, scope=scope)


def users(stores: Stores, scope: Scope, only: Sequence[int] = ()) -> "pd.DataFrame":
    """Users by how many events they have, the busiest first."""
    return listed(routes.ai_users, stores=stores, scope=scope, user=[*only])


def languages(stores: Stores, scope: Scope) -> "pd.DataFrame":
    """Code suggestions by language."""
    return listed(routes.ai_languages, stores=stores, scope=scope)


def events(stores: Stores, scope: Scope, wanted: Wanted | None = None, *, most: int = MOST) -> "pd.DataFrame":
    """The events themselves, the newest first."""
    return listed(routes.ai_events, most, stores=stores, scope=scope, wanted=wanted or Wanted())
