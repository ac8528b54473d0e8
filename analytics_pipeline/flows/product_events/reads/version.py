"""The state of figures of product events that no event can change any more, by our ledgers."""

from datetime import date, timedelta
from hashlib import blake2b

from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.product_events.ledger import UNKNOWN, Recorded, recorded
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.source import has_expired
from analytics_pipeline.resources.postgres import Postgres

_RELATIONS = frozenset(one.name for one in AGGREGATES)


def version(postgres: Postgres, relation: str, query: EventQuery, today: date, retention_days: int) -> str | None:
    """Changes with any figure of the days in this aggregate. None: ClickHouse has to be asked.

    That is so while events of one of the days may come in, or may be there which the figures lack, and while nobody
    vouches for the figures of one of them. `today` is the UTC day.
    """
    if relation not in _RELATIONS:
        raise ValueError(f"{relation} is no aggregate of product events")
    if not has_expired(query.end, today, retention_days):
        return None
    known = recorded(postgres, relation, query.first, query.end - timedelta(days=1))
    if len(known) < len(query) or not all(_is_settled(one) for one in known.values()):
        return None
    states = sorted((day, one.version, one.events) for day, one in known.items())
    return blake2b(str(states).encode(), digest_size=16).hexdigest()


def _is_settled(one: Recorded) -> bool:
    return one.holds and one.version != UNKNOWN
