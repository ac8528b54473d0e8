"""Every feature that has a history to be brought in when somebody switches it on. A new one is one line here."""

from datetime import date

from analytics_pipeline.flows.ai_usage.feature import AI_USAGE
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.feature import Feature
from analytics_pipeline.flows.reporting.feature import REPORTING
from analytics_pipeline.flows.segments.feature import SEGMENTS
from analytics_pipeline.resources.postgres import Postgres

FEATURES: tuple[Feature, ...] = (AI_USAGE, REPORTING, SEGMENTS)


def days_done(store: Postgres, epoch: Epoch) -> list[date]:
    """The days of the history that are complete in their own ledgers."""
    if epoch.state == "completed":
        return list(epoch.days)
    # None: the ledger knows a feature that this version does not.
    feature = next((feature for feature in FEATURES if feature.name == epoch.feature), None)
    return list(feature.progress(store, epoch).days) if feature else []
