"""Once a day: what is kept for so many days goes, in our own schema and in Dagster's."""

from datetime import datetime, timedelta, timezone

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.retention.expired import expiring, remove_expired
from analytics_pipeline.orchestration.old_runs import remove_old_runs
from analytics_pipeline.resources.postgres import postgres


@dg.op(out=dg.Out(dict[str, int]))
def remove_what_expired(context: dg.OpExecutionContext) -> dg.Output[dict[str, int]]:
    """Rows of our tables in Postgres, and Dagster's runs, that are older than they are kept; how many of each went."""
    settings = Settings.load()
    try:
        kept = expiring(settings.dead_letter_retention_days, settings.identity_snapshot_retention_days)
        removed = dict(remove_expired(postgres(settings), kept))
    except NotConfigured as error:
        context.log.warning("skipped: %s", error.reason)
        removed = {}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told without its own text
        raise dg.Failure(reason_of(error), allow_retries=False) from None
    before = datetime.now(timezone.utc) - timedelta(days=settings.run_retention_days)
    removed["dagster_runs"] = remove_old_runs(context.instance, before, context.run)
    return dg.Output(removed, metadata={**removed})


@dg.job(description="Removes rows of our tables in Postgres, and runs of Dagster, that are older than they are kept.")
def retention() -> None:
    """One op: nothing of it depends on another."""
    remove_what_expired()


daily_retention = dg.ScheduleDefinition(
    name="daily_retention",
    job=retention,
    cron_schedule="50 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Has what is older than it is kept removed: dead letters, ledgers of what has expired, Dagster's runs.",
)
