"""Failed runs are told, and counted as attempts at the history that they were asked for."""

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.alerts import alert
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG, Attempt
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.enablement.report import given_up, to_be_tried_again
from analytics_pipeline.resources.postgres import postgres

_LONGEST_ERROR = 1_000


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of every failed run in the log and at ALERT_WEBHOOK_URL, and counts it as an attempt when it"
    " worked on a history.",
)
def run_failures(context: dg.RunFailureSensorContext) -> None:
    """Alerts for every failed run, also one that never started, and counts failed attempts at a history."""
    settings = Settings.load()
    error = _error(context)
    attempt = context.dagster_run.tags.get(ATTEMPT_TAG)
    history = _counted(context, settings, attempt, error) if attempt else None
    alert(settings, history or f"Run {context.dagster_run.run_id} failed: {error}")


def _counted(context: dg.RunFailureSensorContext, settings: Settings, attempt: str, error: str) -> str | None:
    try:
        ledger = EnablementLedger(postgres(settings))
        epoch = ledger.fail(Attempt.parse(attempt), context.dagster_run.run_id, error)
    except NotConfigured:
        return None
    except Exception as trouble:  # noqa: BLE001 - no other evaluation tells of this run; `enablement` counts it later
        context.log.warning(f"the attempt {attempt[:100]!r} was not counted: {type(trouble).__name__}")
        return None
    if epoch is None:
        return None
    return given_up(epoch) if epoch.state == "failed" else to_be_tried_again(epoch)


def _error(context: dg.RunFailureSensorContext) -> str:
    """The run's own words. Our assets fail with texts that name cause and repair and hold no secrets."""
    texts = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        told = data.user_failure_data.description if data.user_failure_data else None
        # The text of any other exception may hold anything, so only its class is told. Dagster wraps it in its own.
        kind = (data.error.cause or data.error).cls_name if data.error else None
        texts.append(f"{event.step_key}: {told or kind or 'unknown error'}")
    return ("; ".join(texts) or context.failure_event.message or "no step was started")[:_LONGEST_ERROR]
