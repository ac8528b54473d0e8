"""`analytics-pipeline reporting timezone`."""

import re
from datetime import datetime, timedelta
from datetime import timezone as fixed

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.cli.reporting.asking import (
    asked,
    asked_for_account,
    check_given,
    found_account,
    in_zone,
    offset_text,
)
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.reporting.accounts import Account, Unzoned, set_timezone
from analytics_pipeline.flows.reporting.errors import NotWritable, UnknownAccount, UnknownZone
from analytics_pipeline.flows.reporting.zones import (
    ListedZone,
    canonical,
    day_bounds,
    iana_name,
    local_date,
    zones_at_offset,
)
from analytics_pipeline.resources.postgres import Postgres, postgres

# Late rows of the day that closes are in by then.
_AFTER_MIDNIGHT = timedelta(minutes=30)
# On whose clocks operators read that moment, beside the account's.
_CLOCKS = {"UTC": "Etc/UTC", "India": "Asia/Kolkata", "Pacific": "America/Los_Angeles"}


def _offset(value: str) -> timedelta:
    """+5:30, -8, 0 or UTC+01:00; from -12 to +14 hours.

    Raises:
        click.BadParameter: it is none of these.
    """
    match = re.fullmatch(r"(?:UTC|GMT)?\s*([+-]?)(\d{1,2})(?::?([0-5]\d))?", value.strip(), re.ASCII | re.I)
    sign, hours, minutes = match.groups() if match else ("", 99, 0)
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    if timedelta(hours=-12) <= offset <= timedelta(hours=14):
        return offset
    raise click.BadParameter(f"{value[:40]!r} is not an offset from UTC such as +5:30, -8 or 0", param_hint="--offset")


@click.command(short_help="Choose the time zone whose days an account's reports have.")
@click.option("--offset", metavar="OFFSET", help="List the zones that are at this offset from UTC now.")
@click.option("--account", metavar="ID", help="Id of the account; asked for when it is not given.")
@click.option("--set", "name", metavar="ZONE", help="IANA name of the account's zone, e.g. Asia/Kolkata.")
@click.option("--yes", is_flag=True, help="Ask nothing; needs --account and --set.")
@json_option
def timezone(offset: str | None, account: str | None, name: str | None, *, yes: bool, as_json: bool) -> None:
    """Choose the time zone whose days an account's reports have.

    The IANA name is stored as it was chosen, in the account's settings (`reporting_timezone`). That is the product's
    own table, which the pipeline writes nowhere else, so it asks first; where it may not, it prints the SQL to run.
    Days that were rolled up in another zone become stale: reports read the raw events until they have been computed
    again. Another name of the same zone, such as Asia/Calcutta for Asia/Kolkata, changes nothing.

    \b
    Examples:
      analytics-pipeline reporting timezone                 asks for everything
      analytics-pipeline reporting timezone --offset +5:30  lists zones only
      analytics-pipeline reporting timezone --account 7     shows it, then asks
      analytics-pipeline reporting timezone --account 7 --json
      analytics-pipeline reporting timezone --account 7 --set Asia/Kolkata --yes

    Exit code 0 also when the answer was no, 1 when there is no such account or its zone could not be stored, 2 when
    the zone or the offset does not exist or an option is missing.
    """
    console = new_console()
    now = datetime.now(fixed.utc)
    if as_json:
        print_json(_document(offset, account, name, now))
        return
    if offset is not None and account is None and name is None:
        _show_zones(console, zones_at_offset(_offset(offset), now))
        return
    check_given(yes=yes, account=account, set=name)
    store = postgres(Settings.load())
    found = found_account(store, asked_for_account() if account is None else account)
    _show_current(console, found)
    chosen = _named(name) if name is not None else _picked(console, offset, now)
    if chosen and (yes or asked(f"Set the reporting time zone of account {found.id} to {chosen}?")):
        _set(console, store, found, chosen, now)
    else:
        console.print("Nothing was changed.")


def _document(offset: str | None, account: str | None, name: str | None, now: datetime) -> object:
    """The zones at the offset, or the account as it is; nothing is asked or changed."""
    if name is not None or (offset is None) == (account is None):
        raise click.UsageError("--json shows what is: it takes either --offset or --account, and not --set")
    if offset is not None:
        return [
            {"name": one.name, "display": one.display, "offsets": [offset_text(each) for each in one.offsets]}
            for one in zones_at_offset(_offset(offset), now)
        ]
    return found_account(postgres(Settings.load()), str(account))


def _named(name: str) -> str:
    try:
        return iana_name(name)
    except UnknownZone as error:
        raise click.BadParameter(str(error), param_hint="--set") from error


def _picked(console: Console, offset: str | None, now: datetime) -> str | None:
    """The zone that was picked by its number; 0 asks for the offset again, anything else gives up."""
    while True:
        wanted = offset or click.prompt("UTC offset, e.g. +5:30, -8 or 0", default="", show_default=False)
        listed = zones_at_offset(_offset(wanted), now)
        _show_zones(console, listed)
        answer = click.prompt("Number of the zone (0 = another offset)", default="", show_default=False).strip()
        if answer == "0":
            offset = None
            continue
        numbers = {str(number): one.name for number, one in enumerate(listed, 1)}
        if answer not in numbers:
            console.print(f"{escape(repr(answer[:40]))} is not one of the numbers.")
        return numbers.get(answer)


def _show_zones(console: Console, listed: list[ListedZone]) -> None:
    if not listed:
        console.print("No zone is at that offset now.")
        return
    table = Table("", "zone", Column("IANA name", no_wrap=True), "offsets over the year")
    for number, one in enumerate(listed, 1):
        table.add_row(str(number), escape(one.display), one.name, ", ".join(map(offset_text, one.offsets)))
    console.print(table)


def _show_current(console: Console, found: Account | Unzoned) -> None:
    if isinstance(found, Account):
        state = f"reporting time zone {found.timezone}"
    else:
        state = f"{found.stored[:60]!r} stored, which is not a time zone" if found.stored else "no reporting time zone"
    console.print(f"Account {found.id} {found.name}: {state}", markup=False, highlight=False)


def _set(console: Console, store: Postgres, found: Account | Unzoned, name: str, now: datetime) -> None:
    try:
        set_timezone(store, found.id, name)
    except NotWritable as error:
        raise click.ClickException(
            f"{error}. Nothing was changed; whoever may write it can run:\n  {error.statement};"
        ) from error
    except UnknownAccount as error:
        raise click.ClickException(str(error)) from error
    console.print(f"[green]Set:[/] account {found.id} reports in {name}.")
    if isinstance(found, Account) and found.timezone != canonical(name):
        console.print(f"Days that were rolled up in {found.timezone} are stale until they are computed again.")
    tomorrow = local_date(name, now) + timedelta(days=1)
    moment = day_bounds(name, tomorrow, tomorrow)[0].starts_at + _AFTER_MIDNIGHT
    clocks = "".join(f"  {in_zone(moment, iana)}  {clock}\n" for clock, iana in {name: name, **_CLOCKS}.items())
    console.print(
        f"A backfill is recommended from this moment on:\n{clocks}"
        f"  analytics-pipeline reporting backfill --account {found.id}",
        highlight=False,
    )
