"""What a product asks of the reading code, in a process of its own like everything else of the pipeline."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import dagster as dg

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.ai_usage.reads import Scope, ai_usage_reads
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reports import Reports
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import postgres

_METRICS = ("avg_first_response_time", "resolutions_count", "bot_handoffs_count")


@dataclass(frozen=True)
class ReadReports:
    """Reports by day, from the first day to now, in each account's own zone."""

    accounts: tuple[int, ...]
    first: date
    last: date

    def do(self, _instance: dg.DagsterInstance) -> dict[tuple[int, str], tuple[list[tuple[Any, ...]], tuple[Any, ...]]]:
        """(account, metric) to its points (moment, value, count) and the ranges of days that are missing."""

        settings = Settings.load()
        store = postgres(settings)
        since = datetime.combine(self.first, time(), timezone.utc)
        until = datetime.combine(self.last + timedelta(days=1), time(), timezone.utc)
        answers = {}
        with connect(settings, Tag("reporting", "read")) as clickhouse:
            reports = Reports(clickhouse, store, feature_flags(settings, store))
            for account in self.accounts:
                for metric in _METRICS:
                    answer = reports.timeseries(ReportQuery(account, since, until), metric)
                    points = [(point.timestamp, point.value, point.count) for point in answer.value[1:-1]]
                    answers[account, metric] = (points, answer.missing)
        return answers


@dataclass(frozen=True)
class ReadAiUsage:
    """How often each AI event happened from the first to the last day, in all namespaces."""

    first: date
    last: date

    def do(self, _instance: dg.DagsterInstance) -> tuple[dict[str, int], list[tuple[date, date]]] | None:
        """The events by name and the ranges of days that are missing; None when AI usage is not available."""

        scope = Scope("", self.first, self.last)
        try:
            with ai_usage_reads(Settings.load()) as reads:
                return reads.events(scope), reads.missing(scope)
        except NotAvailable:
            return None
