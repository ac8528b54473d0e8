"""`analytics-pipeline token`."""

import re
from datetime import datetime, timedelta

import click
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.api import tokens
from analytics_pipeline.api.tokens import NoSuchToken, Token, TokenExists
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.erasure.errors import SubjectForgotten
from analytics_pipeline.resources.postgres import postgres

_HOURS = {"h": 1, "d": 24, "w": 24 * 7}
_ID = click.IntRange(0, 2**63 - 1)


class _Lifetime(click.ParamType[timedelta]):
    """A number of hours, days or weeks."""

    name = "lifetime"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", value, re.ASCII)
        if found is None:
            self.fail(f"{value!r} is no time: write hours, days or weeks, such as 12h, 90d or 4w", param, ctx)
        return timedelta(hours=int(found[1]) * _HOURS[found[2]])


@click.group()
def token() -> None:
    """Tokens, with which services send events and readers read.

    A token is shown once, when it is made, and kept as a hash. Give each service one of its own.

    \b
    analytics-pipeline token create web --scope ingest --organisation 1
    analytics-pipeline token create dashboards --scope read
    analytics-pipeline token create acme-reports --scope read --account 7 --expires 90d
    """


@token.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(["ingest", "read"]), required=True, help="Send events, or read.")
@click.option("--organisation", type=_ID, help="Bind it to this organisation; events are stored under it.")
@click.option("--account", type=_ID, help="Bind it to this account, for reads.")
@click.option("--expires", "lifetime", type=_Lifetime(), metavar="TIME", help="End it after, e.g., 12h, 90d or 4w.")
@json_option
def create(
    name: str,
    scope: tokens.Scope,
    organisation: int | None,
    account: int | None,
    lifetime: timedelta | None,
    *,
    as_json: bool,
) -> None:
    """Make the token NAME and show it, once. It begins at once."""
    _check(name, scope, organisation, account)
    try:
        made = tokens.create(
            postgres(Settings.load()),
            name,
            scope,
            organisation_id=organisation,
            account_id=account,
            lifetime=lifetime,
        )
    except (TokenExists, SubjectForgotten) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json({**_shown(made.token), "token": made.secret})
        return
    # Alone on stdout, so that it can be put where it belongs.
    click.echo(made.secret)
    until = f" until {_moment(made.token.expires_at)}" if made.token.expires_at else ""
    told = f"Keep it: it is not shown again. It may {scope} ({made.token.bound_to}){until}."
    click.echo(told, err=True)


def _check(name: str, scope: tokens.Scope, organisation: int | None, account: int | None) -> None:
    if not re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII):
        raise click.UsageError("a name has 1 to 100 letters, digits, dots, dashes and underscores")
    if organisation is not None and account is not None:
        raise click.UsageError("a token is bound to an organisation or to an account, not to both")
    if scope == "ingest" and organisation is None:
        raise click.UsageError("a token that sends events needs --organisation: they are stored under it")


@token.command("list")
@json_option
def list_all(*, as_json: bool) -> None:
    """Show every token, but not its secret; also those that have ended."""
    found = tokens.listed(postgres(Settings.load()))
    if as_json:
        print_json([_shown(one) for one in found])
        return
    names = ("name", "scope", "bound to", "state", "made", "expires", "last used")
    table = Table(*names, title="Tokens", title_justify="left")
    for one in found:
        moments = map(_moment, (one.created_at, one.expires_at, one.last_used_at))
        table.add_row(escape(one.name), one.scope, one.bound_to, one.state, *moments)
    new_console().print(table if found else "There is no token.")


@token.command()
@click.argument("name")
@json_option
def revoke(name: str, *, as_json: bool) -> None:
    """End the token NAME at once; the name is free again."""
    try:
        ended = tokens.revoke(postgres(Settings.load()), name)
    except NoSuchToken as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json(_shown(ended))
    else:
        click.echo(f"Revoked: {name}. Whoever has it is refused from now on.")


def _shown(one: Token) -> dict[str, object]:
    return {
        "name": one.name,
        "scope": one.scope,
        "organisation_id": one.organisation_id,
        "account_id": one.account_id,
        "state": one.state,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "revoked_at": one.revoked_at,
        "last_used_at": one.last_used_at,
    }


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else "-"
