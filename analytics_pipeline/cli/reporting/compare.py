"""`analytics-pipeline reporting compare`."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.output import json_option, new_console, new_progress, print_json
from analytics_pipeline.cli.reporting.asking import ALL, DAY, chosen_accounts
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.days import Days
from analytics_pipeline.flows.reporting.accounts import Account
from analytics_pipeline.flows.reporting.compare import (
    TOLERANCE,
    By,
    Compared,
    Comparison,
    Difference,
    Figure,
    Line,
    periods,
)
from analytics_pipeline.flows.reporting.zones import local_date
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import postgres

_SHOWN = 30
_SIX_MONTHS = timedelta(days=182)
_CAUSES = {
    "never": "were never rolled up (reports read the raw events): reporting backfill",
    "timezone": "were rolled up in another zone than the account has now: reporting backfill",
    "registry": "were rolled up when metrics were defined otherwise: reporting backfill",
    "bounds": "have other bounds in the time zone database than when they were rolled up: reporting backfill",
    "source": "were rolled up before their events were copied again: reporting backfill",
    "uncopied": "have events that were never copied after the day was over: reporting backfill",
}


@dataclass
class _Findings:
    """Sums over all periods; of the differences only as many as are shown."""

    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    unexplained: list[Days] = field(default_factory=list)
    left_out: int = 0

    @property
    def total(self) -> Line:
        return sum(self.lines.values(), Line())

    def add(self, found: Compared) -> None:
        for key, line in found.lines.items():
            self.lines[key] = self.lines.get(key, Line()) + line
        self.differences += found.differences[: _SHOWN - len(self.differences)]
        self.causes.update(found.causes)
        self.left_out += found.left_out
        if found.differences and not found.causes:
            self.unexplained.append(found.period)


@click.command(short_help="Compare rollups with the raw events in ClickHouse.")
@click.option("--account", metavar="ID", default=ALL, show_default=True, help='Id of the account, or "all".')
@click.option(
    "--from",
    "since",
    type=DAY,
    metavar="DATE",
    help="First local day; six months ago, or ANALYTICS_START_DATE if that is later, if not given.",
)
@click.option(
    "--to", "until", type=DAY, metavar="DATE", help="Last local day; yesterday if not given. Open days are left out."
)
@click.option("--by", type=click.Choice(["day", "week", "month"]), default="week", show_default=True, help="Period.")
@json_option
def compare(account: str, since: datetime | None, until: datetime | None, by: By, *, as_json: bool) -> None:
    """Compare rollups with the raw events in ClickHouse, for accounts, agents and inboxes.

    Both are added up over each period. Counts must be equal and averages within 0.01 s. Shown are the match rate, the
    differences, keys that one side lacks, and what may have come between them. Changes nothing.

    \b
    Examples:
      analytics-pipeline reporting compare                     all of six months
      analytics-pipeline reporting compare --account 7 --by day
      analytics-pipeline reporting compare --from 2026-03-01 --to 2026-03-31

    Exit code 0 when all is equal, 1 when anything differs, 3 when there is nothing to compare, or not everything
    because events of some days were never copied, and when an account has no time zone yet.
    """
    console = new_console()
    settings = Settings.load()
    now = datetime.now(timezone.utc)
    with connect(settings, Tag("reporting", "compare")) as clickhouse:
        store = postgres(settings)
        chosen = chosen_accounts(store, account)
        days = _days(chosen, since and since.date(), until and until.date(), now, settings.start_of("reporting"))
        findings = _compared(Comparison(store, clickhouse, chosen, now), days, by)
    if as_json:
        print_json({"from": days.first, "to": days.last, "by": by, "accounts": len(chosen), **_document(findings)})
        sys.exit(_exit_of(findings))
    console.print(f"Compared {days.first} to {days.last} by {by}, {len(chosen):,} accounts")
    _show(console, findings)
    sys.exit(_exit_of(findings))


def _days(chosen: Sequence[Account], since: date | None, until: date | None, now: datetime, start: date) -> Days:
    yesterday = max(local_date(account.timezone, now) for account in chosen) - timedelta(days=1)
    last = min(until or yesterday, yesterday)
    # Days before the start have no partition, so nobody would ever copy them.
    first = since or min(max(start, last - _SIX_MONTHS), last)
    if first > last:
        raise click.BadParameter(f"{first} is after {last}, the last day to compare", param_hint="--from")
    return Days(first, last)


def _compared(comparison: Comparison, days: Days, by: By) -> _Findings:
    findings = _Findings()
    with new_progress(new_console(stderr=True)) as progress:
        task = progress.add_task("", total=sum(1 for _ in periods(days, by)))
        for found in comparison.compare(days, by):
            findings.add(found)
            progress.update(task, advance=1, description=f"compared until {found.period.last}")
    return findings


def _document(findings: _Findings) -> dict[str, Any]:
    lines = [{"metric": metric, "dimension": by, **asdict(line)} for (metric, by), line in findings.lines.items()]
    return {
        "keys": findings.total.keys,
        "equal": findings.total.equal,
        "account_days_left_out": findings.left_out,
        "lines": lines,
        "differences": findings.differences,
        "causes": findings.causes,
    }


def _exit_of(findings: _Findings) -> Exit:
    if findings.total.equal < findings.total.keys:
        return Exit.FAILED
    return Exit.GAPS if findings.left_out or not findings.total.keys else Exit.DONE


def _show(console: Console, findings: _Findings) -> None:
    total = findings.total
    if findings.left_out:
        console.print(
            f"[yellow]{findings.left_out:,} account days were left out: their events were never copied, so ClickHouse"
            " has neither them nor rollups of them: reporting backfill",
        )
    if not total.keys:
        console.print("[yellow]There are neither events nor rollups in the range: nothing was compared.")
        return
    _show_lines(console, findings.lines)
    different = total.keys - total.equal
    console.print(f"Match rate: {_rate(total)} ({total.equal:,} of {total.keys:,} keys)")
    if not different:
        console.print("[green]Rollups equal the raw events.")
        return
    _show_differences(console, findings.differences, different)
    _show_causes(console, findings)


def _rate(total: Line) -> str:
    """The match rate, never rounded up to a whole that it is not."""
    return f"{total.equal * 10_000 // total.keys / 100:.2f} %"


def _show_lines(console: Console, lines: Mapping[tuple[str, str], Line]) -> None:
    title = f"Keys, and the largest deltas of count and average (within {TOLERANCE} s)"
    table = Table(title=title, title_justify="left")
    table.add_column("metric", no_wrap=True)
    for heading in ("keys", "equal", "only raw", "only rollup", "count delta"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("average\ndelta, s", justify="right", no_wrap=True)
    before = ""
    for (metric, dimension), line in sorted(lines.items()):
        if metric != before:
            table.add_row(before := metric)
        numbers = (line.keys, line.equal, line.only_raw, line.only_rollup, line.largest_count_delta)
        table.add_row(f"  {dimension}", *(f"{number:,}" for number in numbers), f"{line.largest_average_delta:,.3f}")
    console.print(table)


def _show_differences(console: Console, differences: Sequence[Difference], count: int) -> None:
    title = f"Differences (count, average, average in business hours), {len(differences)} of {count:,}"
    table = Table(title=title, title_justify="left")
    for heading in ("period", "key", "raw", "rollup"):
        table.add_column(heading, overflow="fold")
    for one in differences:
        to = f"\nto {one.period.last}" if len(one.period) > 1 else ""
        key = f"account {one.account_id}, {one.dimension} {one.dimension_id}\n{one.metric}"
        table.add_row(f"{one.period.first}{to}", key, _figure(one.raw), _figure(one.rollup))
    console.print(table)


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "missing"
    whole = max(1, figure.count)
    return f"{figure.count:,}  {figure.seconds / whole:,.2f}  {figure.business_seconds / whole:,.2f}"


def _show_causes(console: Console, findings: _Findings) -> None:
    if findings.causes:
        console.print("Likely causes, of the accounts that differ:")
    for cause, count in findings.causes.most_common():
        console.print(f"  {count:,} account days {_CAUSES[cause]}")
    if findings.unexplained:
        first, last = findings.unexplained[0].first, findings.unexplained[-1].last
        console.print(
            "  [red]The ledger vouches for days that differ.[/] Compute them again, and report it:\n"
            f"  analytics-pipeline reporting backfill --account all --recopy --from {first} --to {last}",
            highlight=False,
        )
