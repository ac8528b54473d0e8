"""Usage export: allow-listed events of the product's log → every sink of EXPORT_SINKS."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.alerts import alert
from analytics_pipeline.flows.contract import require
from analytics_pipeline.flows.failures import passes, reason_and_place, reason_of
from analytics_pipeline.flows.usage_export.errors import ExportDisabled
from analytics_pipeline.flows.usage_export.export import export_all
from analytics_pipeline.flows.usage_export.line import Served
from analytics_pipeline.flows.usage_export.reads import Figures, figures
from analytics_pipeline.orchestration.flow_asset import OWNERS, RETRIES
from analytics_pipeline.orchestration.materialisation import Materialisation
from analytics_pipeline.resources.configurable import PostgresResource
from analytics_pipeline.resources.postgres import Postgres

# After so many failures in a row, which is some minutes, somebody is told, once.
TOLD_AFTER = 5
_FLOW = "usage_export"
_EXPORTED = dg.AssetKey("exported_events")


@dg.asset(
    group_name=_FLOW,
    tags={"flow": _FLOW},
    kinds={"postgres"},
    deps=[sources.event_logs, sources.event_logs_export_allowlist],
    owners=OWNERS,
    output_required=False,
    retry_policy=RETRIES,
)
def usage_export(context: dg.AssetExecutionContext, postgres: PostgresResource) -> Iterator[Materialisation]:
    """Events whose names are allowed to leave, with the keys that are, sent to each sink after its own bookmark.

    A run works through what has gathered, for at most four minutes, and leaves the rest to the next one. A sink that
    fails is tried again later and holds up no other: its state is in the metadata, and a check tells of its backlog.
    """
    try:
        settings = Settings.load()
        store = postgres.store()
        require(store, _FLOW)
        served = export_all(settings, store, context.run.run_id)
    except (NotConfigured, ExportDisabled) as error:
        yield _skip(context, "export_disabled" if isinstance(error, ExportDisabled) else error.reason, str(error))
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told without its own text
        context.log.error("the export failed: %s", reason_and_place(error))
        raise dg.Failure(reason_of(error), allow_retries=passes(error)) from None
    _tell(context, settings, served)
    if all(one.status.startswith("skipped") for one in served):
        yield _skip(context, served[0].status.removeprefix("skipped: ") if served else "no_sinks", _told(served))
        return
    yield from _exported(settings, served)
    yield dg.MaterializeResult(metadata=_metadata(store, served))


exported_events = dg.AssetSpec(
    key=_EXPORTED,
    group_name=_FLOW,
    kinds={"clickhouse"},
    deps=[usage_export],
    owners=OWNERS,
    description="The records that left, in our own ClickHouse; empty unless a sink of EXPORT_SINKS is `clickhouse:`.",
    metadata={
        "dagster/table_name": "exported_events",
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                "event_log_id": [dg.TableColumnDep(sources.event_logs.key, "id")],
                **{
                    column: [dg.TableColumnDep(sources.event_logs.key, column)]
                    for column in (
                        "name",
                        "user_id",
                        "anonymous_user_id",
                        "source",
                        "version",
                        "timestamp",
                        "feature_flags",
                        "cohort_id",
                        "public_argument",
                        "first_source_url",
                        "last_source_url",
                        "referrer",
                        "device_id",
                        "insert_id",
                    )
                },
            }
        ),
    },
)


def _exported(settings: Settings, served: Sequence[Served]) -> Iterator[dg.AssetMaterialization]:
    """That the table in ClickHouse has got records."""
    ours = {sink.name for sink in settings.sinks if sink.parts.scheme == "clickhouse"}
    records = sum(one.records for one in served if one.sink in ours)
    if records:
        yield dg.AssetMaterialization(_EXPORTED, metadata={"records": records})


def _skip(context: dg.AssetExecutionContext, reason: str, detail: str) -> dg.AssetObservation:
    context.log.warning("skipped: %s (%s)", reason, detail)
    return dg.AssetObservation(context.asset_key, metadata={"status": f"skipped: {reason}", "detail": detail})


def _told(served: Sequence[Served]) -> str:
    return "; ".join(f"{one.sink} {one.status}" for one in served) or "EXPORT_SINKS names no sink"


def _tell(context: dg.AssetExecutionContext, settings: Settings, served: Sequence[Served]) -> None:
    """A line for each sink; an alert for one that has failed for some minutes."""
    for one in served:
        context.log.info(
            "%s %s: %d records in %d batches, %d dead letters",
            one.sink,
            one.status,
            one.records,
            one.batches,
            one.failed,
        )
        if one.status == "failed":
            context.log.warning("%s failed: %s", one.sink, one.error)
        if one.status == "failed" and one.failures_in_a_row == TOLD_AFTER:
            alert(settings, f"The export to the sink {one.sink} has failed {TOLD_AFTER} times in a row: {one.error}")


def _metadata(store: Postgres, served: Sequence[Served]) -> Mapping[str, Any]:
    """Numbers that Dagster plots from run to run, and a row for each sink."""
    known = figures(store)
    return {
        "records": sum(one.records for one in served),
        "dead_letters": sum(one.failed for one in served),
        "backlog": sum(one.queue_size or 0 for one in known),
        "oldest_pending_seconds": max((one.oldest_pending_seconds or 0.0 for one in known), default=0.0),
        **{f"backlog_{one.sink}": one.queue_size or 0 for one in known},
        "sinks": dg.MetadataValue.table([_row(one, known) for one in served]),
    }


def _row(served: Served, known: Sequence[Figures]) -> dg.TableRecord:
    own = next((one for one in known if one.sink == served.sink), None)
    return dg.TableRecord(
        {
            "sink": served.sink,
            "status": served.status,
            "batches": served.batches,
            "records": served.records,
            "dead_letters": served.failed,
            "bytes": served.sent_bytes,
            "backlog": (own and own.queue_size) or 0,
            "failures_in_a_row": served.failures_in_a_row,
            "error": served.error,
        }
    )
