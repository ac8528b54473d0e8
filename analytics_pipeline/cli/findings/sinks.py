"""The part of `doctor` that asks each sink of the usage export whether it would take batches."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from analytics_pipeline.cli.findings.base import Check, Finding
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.usage_export.ledger import is_ready, states
from analytics_pipeline.resources.postgres import Postgres
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


def left_behind(settings: Settings, store: Postgres) -> Iterator[Finding]:
    """Sinks that were served and are configured no more.

    One that got another name begins at the newest event, so what the old one had not got would not leave.
    """
    if not is_ready(store):
        return
    for name in sorted({*states(store)} - {sink.name for sink in settings.sinks}):
        yield Finding(
            f"sink {name}",
            "has a bookmark and is no longer in EXPORT_SINKS",
            f"if it has another name now: analytics-pipeline export rename {name} NEW;"
            f" if it is gone: analytics-pipeline export drop {name}",
        )


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
