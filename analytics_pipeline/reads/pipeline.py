"""The pipeline itself: how fresh its flows are, what fails, what became of histories, what organisations cost."""

from typing import TYPE_CHECKING

from analytics_pipeline.api.access import Within
from analytics_pipeline.api.routes import pipeline as routes
from analytics_pipeline.api.routes import tenants
from analytics_pipeline.api.stores import EVERYTHING, Stores
from analytics_pipeline.reads.frames import listed

if TYPE_CHECKING:
    import pandas as pd


def freshness(stores: Stores) -> "pd.DataFrame":
    """Each relation of ClickHouse: its days, those it lacks, and when one last came in."""
    return listed(routes.pipeline_freshness, stores=stores)


def failing(stores: Stores) -> "pd.DataFrame":
    """Everything that the ledgers know to have failed and that nothing has repaired."""
    return listed(routes.pipeline_failing, stores=stores)


def checks(stores: Stores) -> "pd.DataFrame":
    """The asset checks that were ever executed, and whether each passes."""
    return listed(routes.pipeline_checks, stores=stores)


def check_days(stores: Stores) -> "pd.DataFrame":
    """The latest outcome of each asset check, day by day."""
    return listed(routes.pipeline_checks_days, stores=stores)


def costs(stores: Stores, hours: int = 24) -> "pd.DataFrame":
    """Statements of ClickHouse by organisation and flow, over the last hours."""
    return listed(routes.pipeline_costs, stores=stores, hours=hours)


def accounts(stores: Stores) -> "pd.DataFrame":
    """The product's accounts with their reporting zones."""
    return listed(tenants.accounts, within=Within(EVERYTHING, stores))


def histories(stores: Stores) -> "pd.DataFrame":
    """The newest epoch of every feature that was switched on: how far its history is."""
    return listed(routes.enablements, within=Within(EVERYTHING, stores))
