"""Parts that the commands of `reporting` share: options, questions, and finding the accounts that they are about."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import click

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.flows.reporting.accounts import Account, Unzoned, accounts, kept_account
from analytics_pipeline.flows.reporting.errors import UnknownAccount
from analytics_pipeline.flows.reporting.zones import zone
from analytics_pipeline.resources.postgres import Postgres

ALL = "all"
_LARGEST_ID = 2**63 - 1
# ClickHouse's dates begin on 1970-01-01, and the days before a day are looked at as well.
_EARLIEST = date(1970, 1, 3)


class _Day(click.DateTime):
    """A date, and none before those that ClickHouse holds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        day: datetime = super().convert(value, param, ctx)
        if day.date() < _EARLIEST:
            self.fail(f"{day.date()} is too early; the first possible day is {_EARLIEST}", param, ctx)
        return day


DAY = _Day(["%Y-%m-%d"])


class Missing(click.ClickException):
    """Something has to be set first; the message says how."""

    exit_code = Exit.GAPS


def check_given(*, yes: bool, **options: str | None) -> None:
    """With --yes nothing is asked, so all of these options have to be there.

    Raises:
        click.UsageError: some are not.
    """
    missing = [f"--{name}" for name, value in options.items() if value is None]
    if yes and missing:
        raise click.UsageError(f"--yes asks nothing, so it needs {' and '.join(missing)}")


def asked(question: str) -> bool:
    """Whether the answer is yes; anything but `y` or `yes` is no."""
    answer: str = click.prompt(f"{question} [y/N]", default="n", show_default=False)
    return answer.strip().lower() in ("y", "yes")


def asked_for_account(hint: str = "Account id") -> str:
    answer: str = click.prompt(hint, default="", show_default=False)
    return answer


def account_id(text: str) -> int:
    """The id that the text is.

    Raises:
        click.BadParameter: it is none.
    """
    stripped = text.strip()
    if re.fullmatch(r"[0-9]{1,19}", stripped) and int(stripped) <= _LARGEST_ID:
        return int(stripped)
    raise click.BadParameter(f"{text[:40]!r} is not the id of an account", param_hint="--account")


def found_account(postgres: Postgres, text: str) -> Account | Unzoned:
    """The account of that id.

    Raises:
        click.ClickException: the text is no id, or the source has no such account.
    """
    try:
        return kept_account(postgres, account_id(text))
    except UnknownAccount as error:
        raise click.ClickException(f"{error}; nothing was changed. Take an id of the product's accounts") from error


def chosen_accounts(postgres: Postgres, text: str) -> Sequence[Account]:
    """The account of that id, or all that have a zone for "all".

    Raises:
        Missing: an account has no valid zone yet.
        click.ClickException: the text is no id, or the source has no such account.
    """
    if text.strip().lower() == ALL:
        zoned = accounts(postgres).zoned
        if not zoned:
            raise Missing("No account has a reporting time zone. Set one: analytics-pipeline reporting timezone")
        return zoned
    found = found_account(postgres, text)
    if isinstance(found, Account):
        return [found]
    state = "no reporting time zone" if found.stored is None else f"{found.stored[:60]!r}, which is not a time zone"
    raise Missing(
        f"Account {found.id} has {state}, so nobody knows its days. Set one:\n"
        f"  analytics-pipeline reporting timezone --account {found.id}"
    )


def in_zone(moment: datetime, name: str) -> str:
    """The moment on the zone's clocks."""
    local = moment.astimezone(zone(name))
    return f"{local:%Y-%m-%d %H:%M:%S} {offset_text(local.utcoffset() or timedelta())}"


def offset_text(offset: timedelta) -> str:
    """An offset from UTC, e.g. +05:30."""
    minutes = abs(int(offset.total_seconds())) // 60
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"
