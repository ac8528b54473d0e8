"""Figures that `demo` shows for each flow: a report in two accounts' own zones, AI usage, histories' own rows."""

from datetime import date, datetime, timedelta, timezone

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.ai_usage.reads import Scope, ai_usage_reads
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
