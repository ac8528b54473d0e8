"""`analytics-pipeline reporting backfill`."""

import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone

import click
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import TimeRemainingColumn
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.output import json_option, new_console, new_progress, print_json
from analytics_pipeline.cli.reporting.asking import (
    ALL,
    DAY,
    asked,
    asked_for_account,
    check_given,
    chosen_accounts,
    in_zone,
)
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.days import Days
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.reporting.accounts import Account, accounts
from analytics_pipeline.flows.reporting.backfill import Backfill, Heard, Plan
from analytics_pipeline.flows.reporting.event_history import History, histories
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import postgres

_MANY_DAYS = 730


@dataclass(frozen=True)
class _Asked:
    """The request of one command; both dates are inclusive, None is the history's own end."""

    account: str
    since: date | None
    until: date | None
    recopy: bool

    def command(self, since: date | None = None) -> str:
        """The command that asks for the same, from another date if one is given, without questions."""
        start = since or self.since
        parts = [f"--account {self.account}", f"--from {start}" if start else ""]
        parts += [f"--to {self.until}" if self.until else "", "--recopy" if self.recopy else "", "--yes"]
        return " ".join(["analytics-pipeline reporting backfill", *filter(None, parts)])


@click.command(short_help="Copy and roll up the past days of an account.")
@click.option("--account", metavar="ID", help='Id of the account, or "all"; asked for when it is not given.')
@click.option("--from", "since", type=DAY, metavar="DATE", help="First local day, if not that of the first event.")
@click.option(
    "--to",
    "until",
    type=DAY,
    metavar="DATE",
    help="Last local day, if not that of the last event. Today is never included.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--recopy", is_flag=True, help="Read all days from Postgres again and compute them, even if they hold.")
@click.option("--yes", is_flag=True, help="Ask nothing; needs --account.")
@json_option
def backfill(
    account: str | None,
    since: datetime | None,
    until: datetime | None,
    *,
    dry_run: bool,
    recopy: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Copy and roll up the past days of an account, from its first event to yesterday in its own time zone.

    Does only what is missing: days that are rolled up and still hold are skipped, source days that ClickHouse has are
    not read again. So after an interruption, run the same command again. Days are rolled up for all accounts with a
    time zone, because a day is replaced as a whole. Today is left to the live events.

    \b
    Examples:
      analytics-pipeline reporting backfill                        asks
      analytics-pipeline reporting backfill --account 7 --dry-run  plan only
      analytics-pipeline reporting backfill --account 7 --dry-run --json
      analytics-pipeline reporting backfill --account 7 --yes      in a script
      analytics-pipeline reporting backfill --account all --from 2026-01-01
      analytics-pipeline reporting backfill --account 7 --recopy --to 2026-03-31

    Exit code 0 also when there is nothing to do or the answer was no, 1 when it failed on the way, 2 when an option is
    missing or wrong, 3 when the account has no time zone yet.
    """
    check_given(yes=yes, account=account)
    if as_json and not (dry_run and account):
        raise click.UsageError("--json shows a plan, so it needs --dry-run and --account")
    if since and until and since > until:
        raise click.BadParameter("is after --to", param_hint="--from")
    console, settings = new_console(stderr=as_json), Settings.load()
    run_id = f"cli-{uuid.uuid4().hex[:12]}"
    with connect(settings, Tag("reporting", "backfill", run_id=run_id)) as clickhouse:
        text = asked_for_account('Account id, or "all"') if account is None else account
        asked_for = _Asked(text.strip(), since and since.date(), until and until.date(), recopy)
        work, found = _work(console, settings, clickhouse, run_id, asked_for)
        plan = _planned(console, work) if work else None
        if as_json:
            print_json(plan and {**asdict(plan), "to_read": work and work.estimate(plan)})
        elif work and plan:
            is_dry = dry_run or (account is None and not yes and asked("Dry run?"))
            _show_plan(console, work, found, plan, is_dry=is_dry)
            if _is_confirmed(console, plan, is_dry=is_dry, yes=yes):
                _run(console, work, plan, asked_for)


def _work(
    console: Console, settings: Settings, clickhouse: ClickHouse, run_id: str, asked_for: _Asked
) -> tuple[Backfill | None, Sequence[History]]:
    """The work to do on the accounts' histories, and these; None when there is nothing to do."""
    store, now = postgres(settings), datetime.now(timezone.utc)
    found = histories(store, chosen_accounts(store, asked_for.account))
    wanted = _wanted(console, asked_for, found, now, settings.start_of("reporting"))
    return (Backfill(store, clickhouse, run_id, wanted, now, recopy=asked_for.recopy) if wanted else None), found


def _planned(console: Console, work: Backfill) -> Plan:
    with console.status("Comparing the days with what is copied and rolled up …"):
        return work.plan()


def _wanted(
    console: Console, asked_for: _Asked, found: Sequence[History], now: datetime, start: date
) -> dict[Account, Days]:
    """The closed days of each account, both ranges printed; empty when there are none.

    Days before `start` have no partition, so nobody would follow their late rows.
    """
    if not found:
        whose = (
            "No account with a time zone has"
            if asked_for.account.lower() == ALL
            else f"Account {asked_for.account} has no"
        )
        console.print(f"{whose} reporting events: there is nothing to backfill.")
        return {}
    closed = {history.account: history.closed(now) for history in found}
    since = max(start, asked_for.since or start)
    ranges = {account: days and days.within(since, asked_for.until) for account, days in closed.items()}
    wanted = {account: days for account, days in ranges.items() if days}
    console.print(f"Discovered range: {_span([one.days for one in found])} (local days, first to last event)")
    effective = _span(list(wanted.values())) if wanted else "no day that is over lies in it, so there is nothing to do"
    cut = f", and so are days before ANALYTICS_START_DATE {start}" if any(h.days.first < start for h in found) else ""
    console.print(f"Effective range:  {effective} (today is excluded{cut})")
    return wanted


def _span(ranges: Sequence[Days]) -> str:
    return f"{min(days.first for days in ranges)} to {max(days.last for days in ranges)}"


def _show_plan(console: Console, work: Backfill, found: Sequence[History], plan: Plan, *, is_dry: bool) -> None:
    table = Table("", "", title="Plan", title_justify="left", show_header=False)
    whose = found[0].account
    zone = whose.timezone if len(found) == 1 else "UTC"
    everybody, to_read = len(accounts(work.postgres).zoned), work.estimate(plan)
    who = f"{whose.id} {whose.name}" if len(found) == 1 else f"{len(found)} with events and a time zone"
    for name, value in {
        "account": who,
        "time zone": zone if len(found) == 1 else f"{len({one.account.timezone for one in found})} different ones",
        "range": f"{plan.days.first} to {plan.days.last}",
        "days": f"{len(plan.days):,}",
        "rolled up and holding": f"{len(plan.days) - len(plan.dates):,} days, skipped",
        "to be rolled up": f"{len(plan.dates):,} days, for all {everybody:,} accounts with a time zone",
        "to be copied before": f"{len(plan.copies):,} UTC days",
        "to be read from Postgres": f"about {to_read.rows:,} rows ({decimal(to_read.bytes)})",
        "first event": in_zone(min(one.first_event for one in found), zone),
        "last event": in_zone(max(one.last_event for one in found), zone),
        "dry run": "yes" if is_dry else "no",
    }.items():
        table.add_row(name, escape(value))
    console.print(table)


def _is_confirmed(console: Console, plan: Plan, *, is_dry: bool, yes: bool) -> bool:
    if is_dry:
        console.print("Dry run: nothing was changed.")
        return False
    if not plan.dates:
        console.print("[green]Every day is rolled up and holds: there is nothing to do.")
        return False
    if len(plan.days) > _MANY_DAYS:
        console.print(f"[yellow]These are more than {_MANY_DAYS} days; --from and --to take them in parts.")
    if yes or asked("Proceed?"):
        return True
    console.print("Nothing was changed.")
    return False


def _run(console: Console, work: Backfill, plan: Plan, asked_for: _Asked) -> None:
    began = time.monotonic()
    done = 0
    try:
        with new_progress(console, TimeRemainingColumn()) as progress:
            task = progress.add_task("", total=len(plan.dates))

            def hear(news: Heard) -> None:
                nonlocal done
                done = news.done
                progress.update(task, completed=news.done, description=news.doing)

            done = work.run(plan, hear)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it was, the way to go on is the same
        # A day that was just copied is left out by its date, or it would be copied once more.
        rest = plan.dates[min(done, len(plan.dates) - 1)] if asked_for.recopy else None
        _show_failure(error, done, plan, asked_for.command(rest))
        sys.exit(Exit.FAILED)
    _show_summary(console, done, time.monotonic() - began, asked_for.account)


def _show_failure(error: BaseException, done: int, plan: Plan, resume: str) -> None:
    reason = reason_of(error) if isinstance(error, Exception) else "interrupted"
    new_console(stderr=True).print(
        f"The backfill stopped: {reason}\n"
        f"{done:,} of {len(plan.dates):,} days are rolled up and stay; the others are as they were.\n"
        f"Go on with: {resume}",
        style="red",
        markup=False,
        highlight=False,
    )


def _show_summary(console: Console, done: int, seconds: float, account: str) -> None:
    console.print(
        f"[green]Done:[/] {done:,} days in {seconds:.1f} s, {seconds / max(1, done):.3f} s per day.\n"
        "Next:\n"
        f"  analytics-pipeline reporting compare --account {account}   rollups beside the raw events\n"
        "  then turn on the feature flag `reporting_events_rollup` for the account: reports are read from the rollups",
    )
