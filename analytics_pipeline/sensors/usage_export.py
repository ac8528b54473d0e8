"""Has new events exported, once an interval."""

import dagster as dg

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export.pending import sinks_to_serve
from analytics_pipeline.orchestration.run_states import runs_under_way
from analytics_pipeline.orchestration.ticks import looked
from analytics_pipeline.resources.postgres import postgres

_KIND = {"analytics_pipeline/follows": "usage_export"}


def usage_export_of(interval_seconds: int) -> dg.SensorDefinition:
    """The sensor that looks so often, as EXPORT_USAGE_DATA_INTERVAL_SECONDS says."""

    @dg.sensor(
        name="usage_export_events",
        target=dg.AssetSelection.assets("usage_export"),
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks at EXPORT_USAGE_DATA_INTERVAL_SECONDS for sinks that have something to get, while"
        " EXPORT_USAGE_DATA_ENABLED is true, and has it exported.",
    )
    def usage_export_events(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Asks for a run when a sink has something to get and none is under way; it remembers nothing."""
        sinks = looked(_sinks_to_serve, Settings.load)
        if isinstance(sinks, dg.SkipReason):
            return sinks
        if not sinks:
            return dg.SkipReason("nothing is pending, or what is pauses after failures")
        if runs_under_way(context.instance, _KIND):
            return dg.SkipReason("a run is under way")
        return dg.SensorResult(run_requests=[dg.RunRequest(tags=_KIND)])

    return usage_export_events


def _sinks_to_serve(settings: Settings) -> list[str] | dg.SkipReason:
    if not settings.export_usage_data_enabled:
        return dg.SkipReason("skipped: export_disabled (EXPORT_USAGE_DATA_ENABLED is not true)")
    return sinks_to_serve(postgres(settings), [sink.name for sink in settings.sinks])
