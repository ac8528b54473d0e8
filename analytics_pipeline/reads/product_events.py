"""Product events: every question of `flows/product_events/reads`, as a frame.

`answered(stores, users.daily, query)` asks a question with the module that has it: auth, cocoons, counts, failures,
integrations, overview, requests, tasks and users. An `EventQuery` says whose events, and of which days.
"""

from collections.abc import Callable
from datetime import datetime, timezone
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from analytics_pipeline.api.answers import Told
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.product_events.reads import events as stored
from analytics_pipeline.flows.product_events.reads.events import EventFilter, StoredEvent
from analytics_pipeline.flows.product_events.reads.query import EventQuery, last_days
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading
from analytics_pipeline.reads.frames import MOST, frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EventFilter", "EventQuery", "answered", "events", "last_days"]


def answered(stores: Stores, question: Callable[..., Answer[Any]], *asked: Any, **narrowed: Any) -> "pd.DataFrame":
    """The answer of a question: a row for each day, hour or name, or one row for the range; none: it is unknown."""
    answer = question(_reading(stores), *asked, **narrowed)
    found = answer.coverage
    told = Told(found.source, found.as_of, found.missing, found.reason)
    kind, is_many = _rows_of(question)
    return frame(kind, answer.value if is_many else [answer.value] * (answer.value is not None), told)


def events(stores: Stores, query: EventQuery, of: EventFilter = stored.ANY, *, most: int = 10_000) -> "pd.DataFrame":
    """The events themselves, the newest first, for as long as they are kept."""
    rows = stored.events(_reading(stores), query, of, limit=min(most, MOST - 1) + 1)
    more = "there are more" if len(rows) > most else None
    return frame(StoredEvent, rows[:most], Told("events", datetime.now(timezone.utc)), more)


def _reading(stores: Stores) -> Reading:
    days = stores.settings.event_retention_days
    return Reading(stores.clickhouse, stores.postgres, days, datetime.now(timezone.utc))


def _rows_of(question: Callable[..., Answer[Any]]) -> tuple[type[Any], bool]:
    """The kind of the rows of an answer by its signature, and whether it has many of them."""
    (value,) = get_args(get_type_hints(question)["return"])
    if get_origin(value) is tuple:
        return get_args(value)[0], True
    (kind,) = [one for one in (get_args(value) or (value,)) if one is not NoneType]
    return kind, False
