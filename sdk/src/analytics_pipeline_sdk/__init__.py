"""Analytics events of a product: typed, delivered once, and accounted for."""

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.aio import AsyncAnalyticsClient
from analytics_pipeline_sdk.base import Client, NoopClient
from analytics_pipeline_sdk.client import AnalyticsClient
from analytics_pipeline_sdk.delivery.reporting import Problem
from analytics_pipeline_sdk.environment import from_env
from analytics_pipeline_sdk.events import CustomEvent, Event
from analytics_pipeline_sdk.settings import Settings
from analytics_pipeline_sdk.testing import MemoryClient
from analytics_pipeline_sdk.version import VERSION

__all__ = [
    "VERSION",
    "AnalyticsClient",
    "AsyncAnalyticsClient",
    "Client",
    "CustomEvent",
    "Event",
    "MemoryClient",
    "NoopClient",
    "Problem",
    "Settings",
    "Stats",
    "from_env",
]
