"""Product events: every question of `flows/product_events/reads`, as a frame.

`answered(stores, users.daily, query)` asks a question with the module that has it: auth, cocoons, counts, failures,
integrations, overview, requests, tasks and users. An `EventQuery` says whose events, and of which days.
"""

from collections.abc import Callable
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from analytics_pipeline.api.routes.product_events.activity import stored_events
from analytics_pipeline.api.routes.product_events.asking import Question, figure_of, reading_of, told_of
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.product_events.reads.events import ANY, EventFilter
from analytics_pipeline.flows.product_events.reads.query import EventQuery, last_days
from analytics_pipeline.flows.product_events.reads.reading import Answer
from analytics_pipeline.reads.frames import MOST, frame, listed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EventFilter", "EventQuery", "answered", "events", "last_days"]


def answered(stores: Stores, question: Callable[..., Answer[Any]], *asked: Any, **narrowed: Any) -> "pd.DataFrame":
    """The answer of a question: a row for each day, hour or name, or one row for the range; none: it is unknown."""
    answer = question(reading_of(stores), *asked, **narrowed)
    (value,) = get_args(get_type_hints(question)["return"])
    if get_origin(value) is tuple:
        return frame(get_args(value)[0], answer.value, told_of(answer.coverage))
    (kind,) = [one for one in (get_args(value) or (value,)) if one is not NoneType]
    found = figure_of(answer)
    return frame(kind, [] if found.row is None else [found.row], found.told)


def events(stores: Stores, query: EventQuery, of: EventFilter = ANY, *, most: int = MOST) -> "pd.DataFrame":
    """The events themselves, the newest first, for as long as they are kept."""
    return listed(stored_events, most, asked=Question(reading_of(stores), query), of=of)
