"""Figures that `demo` shows for each flow: a report in two accounts' own zones, AI usage, histories' own rows."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.cli.local.event_services import ORGANISATION_OF
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.ai_usage.reads import Scope, ai_usage_reads
from analytics_pipeline.flows.product_events.reads import counts, integrations, requests, tasks, users
from analytics_pipeline.flows.product_events.reads.query import last_days
from analytics_pipeline.flows.product_events.reads.reading import Reading
from analytics_pipeline.flows.reporting.accounts import Account, accounts
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reports import Reports
from analytics_pipeline.flows.reporting.zones import day_bounds, local_date
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import Postgres

_DAYS = timedelta(days=7)
_ACCOUNTS = 2
_METRICS = {
    "conversations": "conversations_count",
    "resolved": "resolutions_count",
    "first response": "avg_first_response_time",
    "reply": "reply_time",
}
_SOURCES = {"rollup": "the rollups", "raw": "the events", "mixed": "the rollups and the events"}


def show_report(console: Console, settings: Settings, postgres: Postgres, clickhouse: ClickHouse) -> None:
    """Two accounts' last seven whole days, each in its own zone, and where the figures were read from."""
    reports = Reports(clickhouse, postgres, feature_flags(settings, postgres))
    table = Table("account", title="Reports: the last seven whole days", title_justify="left")
    for name in _METRICS:
        table.add_column(name, justify="right")
    now = datetime.now(timezone.utc)
    told = []
    for account in accounts(postgres).zoned[:_ACCOUNTS]:
        query = _last_days(account, now)
        answers = {name: reports.aggregate(query, metric) for name, metric in _METRICS.items()}
        figures = [_figure(answer.value) for answer in answers.values()]
        table.add_row(f"{escape(account.name)}\n[dim]{account.timezone}[/]", *figures)
        source = _SOURCES[answers["resolved"].source]
        told.append(f"  {account.name}: {query.since:%m-%d %H:%M} to {query.until:%m-%d %H:%M} UTC, from {source}")
    console.print(table)
    console.print("Conversations are counted in Postgres as they are now, all else in ClickHouse.")
    console.print("A day begins at the account's own midnight, so the same seven dates are not the same moments:")
    console.print("\n".join(told), markup=False)


def _last_days(account: Account, now: datetime) -> ReportQuery:
    today = local_date(account.timezone, now)
    first, last = (day_bounds(account.timezone, day, day)[0] for day in (today - _DAYS, today - timedelta(days=1)))
    return ReportQuery(account.id, first.starts_at, last.ends_at)


def _figure(value: int | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value / 60:,.1f} min"


def show_ai_usage(console: Console, settings: Settings, first: date, last: date) -> None:
    """AI usage of all namespaces over the days of its history."""
    try:
        with ai_usage_reads(settings) as reads:
            scope = Scope("", first, last)
            code, chat = reads.code_suggestions(scope), reads.chat(scope)
    except NotAvailable as error:
        console.print(str(error))
        return
    table = Table("", "users", title=f"AI usage, {first} to {last}", title_justify="left")
    table.add_column("figures")
    table.add_row("chat", f"{chat.users:,}", f"{chat.questions:,} questions")
    rate = "none shown" if code.acceptance_rate is None else f"{code.acceptance_rate:.0%}"
    told = f"{code.shown:,} shown, {code.accepted:,} accepted ({rate}), {code.rejected:,} rejected"
    table.add_row("code suggestions", f"{code.contributors:,}", told)
    table.add_row("", "", f"{code.accepted_lines:,} lines accepted, in {', '.join(code.languages)}")
    console.print(table)


def show_product_events(console: Console, settings: Settings, postgres: Postgres, clickhouse: ClickHouse) -> None:
    """Figures of what the demo's services sent today, organisation by organisation."""
    now = datetime.now(timezone.utc)
    reading = Reading(clickhouse, postgres, settings.event_retention_days, now)
    names: dict[int, str] = dict(postgres.query("SELECT id, name FROM {organisations}"))
    table = Table("organisation", title="Product events: today, to the last moment", title_justify="left")
    for name in ("events", "users", "tasks", "slowest\nendpoint", "weakest\nintegration"):
        table.add_column(name, justify="right")
    for organisation in sorted({*ORGANISATION_OF.values()}):
        query = last_days(organisation, now, days=1)
        table.add_row(
            escape(names[organisation]),
            f"{sum(one.events for one in counts.by_type(reading, query).value):,}",
            f"{users.active(reading, query).value or 0:,}",
            _tasks(tasks.overview(reading, query).value),
            _slowest(requests.slowest(reading, organisation, limit=1).value),
            _weakest(integrations.by_provider(reading, query).value),
        )
    console.print(table)


def _tasks(found: tasks.Tasks | None) -> str:
    if found is None or found.success_rate is None:
        return "-"
    return f"{found.created:,}\n{found.success_rate:.0%} succeed"


def _slowest(found: Sequence[requests.Latency]) -> str:
    return "\n".join(f"{one.method} {one.endpoint}\np99 {one.p99_duration_ms or 0:,.0f} ms" for one in found) or "-"


def _weakest(found: Sequence[integrations.IntegrationHealth]) -> str:
    failing = max(found, key=lambda one: one.error_rate or 0, default=None)
    return "-" if failing is None else f"{failing.provider}\n{failing.error_rate or 0:.0%} errors"
