"""The usage export: how far each sink is, what was delivered, and what no receiver will take."""

from typing import TYPE_CHECKING

from analytics_pipeline.api.routes import usage_export as routes
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.reads.frames import MOST, listed

if TYPE_CHECKING:
    import pandas as pd


def statuses(stores: Stores) -> "pd.DataFrame":
    """Each sink's state, how far it has been served, and what waits for it."""
    return listed(routes.sinks, stores=stores)


def deliveries(stores: Stores, sink: str | None = None, *, most: int = MOST) -> "pd.DataFrame":
    """Batches of the last 30 days, of one sink or of all, the newest first."""
    return listed(routes.export_deliveries, most, stores=stores, sink=sink)


def dead_records(stores: Stores, sink: str | None = None, *, most: int = MOST) -> "pd.DataFrame":
    """Events whose record a receiver will never take, and why, the newest first."""
    return listed(routes.export_dead_records, most, stores=stores, sink=sink)
