"""The state of everything that an account's report is made of, so that who has the report need not ask for it again."""

from datetime import datetime, timedelta, timezone

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.reporting.accounts import account
from analytics_pipeline.flows.reporting.reads.metrics import ReportMetric, report_dimension, report_metric
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import READ_FLAG
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.resources.feature_flags import is_enabled
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

_DAY = timedelta(days=1)


def version(postgres: Postgres, flags: OpenFeatureClient, query: ReportQuery, *metrics: str) -> str | None:
    """Changes with any figure of the metrics; None: they may change without any ledger of ours hearing of it.

    That is while days of the range are open, and of figures that the source's conversations take part in.

    Raises:
        UnknownAccount: the source has none of that id.
        UnknownMetric: there is none of that name.
        FlagsUnavailable: nobody can say whether rollups may be read.
    """
    if not all(_is_ledgered(report_metric(name), query) for name in metrics):
        return None
    now = datetime.now(timezone.utc)
    if query.until > day_start(now.date()) - _DAY:
        return None
    owner = account(postgres, query.account_id)
    first, last = query.since.astimezone(timezone.utc).date() - _DAY, query.until.astimezone(timezone.utc).date() + _DAY
    ((ledgers,),) = postgres.query(
        sql_file(__package__, "versions.sql"), account=query.account_id, first=first, last=last
    )
    return f"{owner}|{is_enabled(flags, READ_FLAG, account=query.account_id)}|{REGISTRY.version}|{ledgers}"


def _is_ledgered(metric: ReportMetric, query: ReportQuery) -> bool:
    return metric.rolled is not None and report_dimension(query.dimension).rolled is not None
