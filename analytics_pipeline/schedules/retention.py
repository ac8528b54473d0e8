"""Once a day: what is kept for so many days goes, in our own schema and in Dagster's."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.check_outcomes.ledger import forget_removed
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.retention.expired import expiring, remove_expired
from analytics_pipeline.orchestration.old_runs import remove_old_runs
from analytics_pipeline.resources.postgres import postgres


def retention(checks: Collection[dg.AssetCheckKey]) -> dg.JobDefinition:
    """The job. `checks` are all that there are: what others came to, which the code had once, goes as well."""

    @dg.op(out=dg.Out(dict[str, int]))
    def remove_what_expired(context: dg.OpExecutionContext) -> dg.Output[dict[str, int]]:
        """Rows of our tables in Postgres, and Dagster's runs, that are older than they are kept; how many went."""
        settings = Settings.load()
        try:
            removed = _removed(settings, checks)
        except NotConfigured as error:
            context.log.warning("skipped: %s", error.reason)
            removed = {}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told without its own text
            raise dg.Failure(reason_of(error), allow_retries=False) from None
        before = datetime.now(timezone.utc) - timedelta(days=settings.run_retention_days)
        removed["dagster_runs"] = remove_old_runs(context.instance, before, context.run)
        return dg.Output(removed, metadata={**removed})

    @dg.job(
        name="retention", description="Removes rows of our tables in Postgres, and runs of Dagster, that are too old."
    )
    def job() -> None:
        remove_what_expired()

    return job


def _removed(settings: Settings, checks: Collection[dg.AssetCheckKey]) -> dict[str, int]:
    store = postgres(settings)
    kept = expiring(settings.dead_letter_retention_days, settings.identity_snapshot_retention_days)
    removed = dict(remove_expired(store, kept))
    known = [(key.asset_key.to_user_string(), key.name) for key in checks]
    removed["check_outcomes"] += forget_removed(store, settings.flows, known)
    return removed


def daily_retention(checks: Iterable[dg.AssetChecksDefinition]) -> dg.ScheduleDefinition:
    """Its schedule, where these are all checks that there are."""
    return dg.ScheduleDefinition(
        name="daily_retention",
        job=retention([key for check in checks for key in check.check_keys]),
        cron_schedule="50 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Has what is older than it is kept removed: dead letters, ledgers of what has expired, Dagster's"
        " runs.",
    )
