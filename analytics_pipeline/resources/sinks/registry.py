"""The kinds of sinks, by the scheme of the address. What an address may be is in `sink_addresses`."""

from collections.abc import Callable, Mapping

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks.base import Sink
from analytics_pipeline.resources.sinks.clickhouse import open_clickhouse
from analytics_pipeline.resources.sinks.https import open_http
from analytics_pipeline.resources.sinks.objects import open_objects
from analytics_pipeline.resources.sinks.pubsub import open_pubsub
from analytics_pipeline.resources.sinks.sns import open_sns
from analytics_pipeline.sink_addresses import SinkAddress

_KINDS: Mapping[str, Callable[[SinkAddress, Settings, str | None], Sink]] = {
    "clickhouse": open_clickhouse,
    "file": open_objects,
    "s3": open_objects,
    "https": open_http,
    "http": open_http,
    "sns": open_sns,
    "pubsub": open_pubsub,
}


def open_sink(address: SinkAddress, settings: Settings, run_id: str | None = None) -> Sink:
    """The sink of one of `Settings.sinks`, to be closed by the caller. It connects when it is first used.

    `run_id` is the Dagster run that sends, for the receivers that keep such a thing.
    """
    return _KINDS[address.parts.scheme](address, settings, run_id)
