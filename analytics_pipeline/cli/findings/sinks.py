"""The part of `doctor` that asks each sink of the usage export whether it would take batches."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from analytics_pipeline.cli.findings import Check, Finding
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.resources.sinks.base import SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.registry import open_sink
from analytics_pipeline.sink_addresses import SinkAddress

_FLOW = ("usage_export",)


def sink_checks(settings: Settings) -> tuple[Check, ...]:
    """A look at each sink, and one at whether there is any. An export that is off and has no sink is no finding."""
    checks = [
        Check(f"sink {sink.name}", partial(_look, settings, sink), "check EXPORT_SINKS", _FLOW)
        for sink in settings.sinks
    ]
    return (Check("usage export", partial(_switch, settings), "check EXPORT_USAGE_DATA_ENABLED", _FLOW), *checks)


def _switch(settings: Settings) -> Iterator[Finding]:
    if settings.export_usage_data_enabled and not settings.sinks:
        yield Finding("usage export", "is enabled and has no sink", "set EXPORT_SINKS", _FLOW)
    elif settings.sinks and not settings.export_usage_data_enabled:
        yield Finding("usage export", "has sinks and is not enabled", "set EXPORT_USAGE_DATA_ENABLED=true")


def _look(settings: Settings, sink: SinkAddress) -> Iterator[Finding]:
    subject = f"sink {sink.name}"
    try:
        with closing(open_sink(sink, settings)) as receiver:
            receiver.check()
    except (SinkRefused, SinkUnavailable) as error:
        yield Finding(subject, str(error), f"repair it, then run: analytics-pipeline export test {sink.name}", _FLOW)
    except NotConfigured as error:
        yield Finding(subject, str(error), "set it, or take the sink out of EXPORT_SINKS", _FLOW)
    else:
        yield Finding(subject, "would take batches")
