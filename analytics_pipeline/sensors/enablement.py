"""Brings in a feature's history when somebody switches the feature on: exactly once, whatever dies on the way."""

from collections.abc import Callable, Collection

import dagster as dg
import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.alerts import alert
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG, Attempt, Run
from analytics_pipeline.flows.enablement.feature import Feature
from analytics_pipeline.flows.enablement.report import given_up
from analytics_pipeline.flows.enablement.tick import Outcome, Tick, WantedRun
from analytics_pipeline.flows.failures import reason_and_place, reason_of
from analytics_pipeline.flows.features import FEATURES
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.orchestration.run_states import ABOUT_THE_PAST
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import LeaseHeld, postgres


def _history(feature: str) -> str:
    return f"{feature}_history"


# Its jobs are those of the flows that are wanted: `sensors_of` adds them.
@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks every 30 seconds at what is switched on, and has the history of each feature brought in once."
    " Each tick says of each feature whether it is on and how many rows its histories have brought in.",
)
def enablement(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for the history of every feature that was switched on, and follows it to its end.

    Compares the switches, read uncached, with the ledger `enablements`, never with its own memory: a lost tick or
    cursor, a renamed code location or a second daemon neither repeats a history nor loses one.
    """
    try:
        settings = Settings.load()
        store = postgres(settings)
        tick = Tick(settings, store, feature_flags(settings, store), _runs_of(context.instance))
    except NotConfigured as error:
        return dg.SkipReason(f"skipped: {error.reason}")
    outcomes = {
        feature.name: _look_at(context, tick, feature) for feature in FEATURES if feature.name in settings.flows
    }
    found = [outcome for outcome in outcomes.values() if isinstance(outcome, Outcome)]
    for epoch in [epoch for outcome in found for epoch in outcome.given_up]:
        alert(settings, given_up(epoch))
    requests = [_run_request(request) for outcome in found for request in outcome.requests]
    if requests:
        return dg.SensorResult(run_requests=requests)
    return dg.SkipReason("; ".join(f"{name}: {_told(outcome)}" for name, outcome in outcomes.items()))


def sensors_of(flows: Collection[str]) -> list[dg.SensorDefinition]:
    """The sensor, with a job for each of these flows that has a history; nothing when none has."""
    # One for each feature: assets with different partitions cannot share a job.
    jobs = [
        dg.define_asset_job(
            _history(feature.name),
            selection=dg.AssetSelection.assets(*feature.assets),
            description=f"Brings in the history of {feature.name} after it was switched on.",
        )
        for feature in FEATURES
        if feature.name in flows
    ]
    return [enablement.with_attributes(jobs=jobs)] if jobs else []


def _look_at(context: dg.SensorEvaluationContext, tick: Tick, feature: Feature) -> Outcome | str:
    """The outcome of the look, or the reason why there is none. One feature's trouble never stops the others."""
    try:
        return tick.look_at(feature)
    except NotConfigured as error:
        return f"skipped: {error.reason}"
    except LeaseHeld:
        return "another daemon is looking"
    except (psycopg.errors.UndefinedTable, ClickHouseError, ConnectionError) as error:
        return f"skipped: {reason_of(error)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, the other features go on
        context.log.error("%s could not be looked at: %s", feature.name, reason_and_place(error))
        return f"failed: {reason_of(error)}"


def _told(outcome: Outcome | str) -> str:
    if isinstance(outcome, str):
        return outcome
    states = [f"on for {outcome.on} {'scope' if outcome.on == 1 else 'scopes'}" if outcome.on else "off"]
    states += [f"{epoch.scope} is complete" for epoch in outcome.completed]
    states += [f"{outcome.under_way} under way"] if outcome.under_way else []
    histories = "history" if outcome.epochs == 1 else "histories"
    states += [f"{outcome.rows:,} rows in {outcome.epochs} {histories}"] if outcome.epochs else []
    return ", ".join(states)


def _runs_of(instance: dg.DagsterInstance) -> Callable[[Attempt], list[Run]]:
    def runs_of(attempt: Attempt) -> list[Run]:
        runs = instance.get_runs(dg.RunsFilter(tags={ATTEMPT_TAG: str(attempt)}))
        return [Run(run.run_id, run.is_finished, run.status.value) for run in runs]

    return runs_of


def _run_request(request: WantedRun) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=str(request.attempt),
        job_name=_history(request.attempt.feature),
        asset_selection=[dg.AssetKey(asset) for asset in request.assets],
        tags={
            **range_tags(request.first_day, request.last_day),
            ATTEMPT_TAG: str(request.attempt),
            **(ABOUT_THE_PAST if request.is_about_the_past else {}),
        },
        run_config={"ops": {asset: {"config": dict(config)} for asset, config in request.config.items()}},
    )
