"""`analytics-pipeline export allowlist` and `fields`: which events leave, and which keys of their payloads."""

import sys

import click
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.export.asking import configured_sinks
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import allow_list, past
from analytics_pipeline.flows.usage_export.errors import AllowedByProduct
from analytics_pipeline.resources.postgres import Postgres, postgres

_NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group()
def allowlist() -> None:
    """The names of the events that leave: ours, besides those of the product's own list, which is only read."""


@allowlist.command()
@_NAMES
@click.option("--export-past", is_flag=True, help="Send also what there is of them already, behind the live export.")
@click.option("--sink", "sinks", multiple=True, help="Send the past to this sink alone; may be given more than once.")
@json_option
def add(names: tuple[str, ...], sinks: tuple[str, ...], *, export_past: bool, as_json: bool) -> None:
    """Let events of these names leave from now on; earlier ones stay, unless you ask for them."""
    settings = Settings.load()
    store = postgres(settings)
    if sinks and not export_past:
        raise click.UsageError("--sink says where the past goes, so it needs --export-past")
    served = configured_sinks(settings, sinks) if export_past else []
    if any(not name.strip() for name in names):
        raise click.UsageError("a name must not be empty")
    added = allow_list.add(store, names)
    past.request(store, served, names)
    if as_json:
        print_json({"added": added, "past_to": served})
        return
    click.echo(f"Added: {', '.join(added) or 'none, all of them were there'}.")
    if served:
        click.echo(f"Their past goes to {', '.join(served)}; see: analytics-pipeline export status")


@allowlist.command()
@_NAMES
@json_option
def remove(names: tuple[str, ...], *, as_json: bool) -> None:
    """Let no event of these names leave any more; what has left has left."""
    try:
        removed = allow_list.remove(postgres(Settings.load()), names)
    except AllowedByProduct as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"Removed: {', '.join(removed) or 'none, they were not in the list'}.")


@allowlist.command("list")
@json_option
def list_all(*, as_json: bool) -> None:
    """Show every allowed name, which list it is in, and the keys that leave with it."""
    found = allow_list.listed(postgres(Settings.load()))
    if as_json:
        print_json(found)
        return
    table = Table("event", "allowed by", "keys that leave", title="Allow list", title_justify="left")
    for one in found:
        table.add_row(escape(one.name), " and ".join(one.lists), escape(", ".join(one.keys)) or "[dim]none[/]")
    new_console().print(table if found else "No event leaves: the allow list is empty.")


@allowlist.command()
@_NAMES
@json_option
def has(names: tuple[str, ...], *, as_json: bool) -> None:
    """Exits with 0 when all of these names are allowed, with 3 when not."""
    allowed = {*allow_list.allow_list(postgres(Settings.load())).names}
    missing = [name for name in names if name not in allowed]
    if as_json:
        print_json({"allowed": [name for name in names if name in allowed], "missing": missing})
    else:
        click.echo(f"Not allowed: {', '.join(missing)}." if missing else "Allowed.")
    sys.exit(Exit.GAPS if missing else Exit.DONE)


@click.group()
def fields() -> None:
    """The keys of `public_argument` and `feature_flags` that leave with an event; all others stay.

    `*` as KEY stands for every key, `*` as NAME for every allowed event. Only texts, numbers and booleans leave; in the
    place of any other value a text says so.
    """


@fields.command("add")
@click.argument("name")
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@json_option
def add_fields(name: str, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Let these keys leave with events named NAME, from now on."""
    store = postgres(Settings.load())
    allow_list.allow_keys(store, name, keys)
    _show_keys(store, name, as_json=as_json)


@fields.command("remove")
@click.argument("name")
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@json_option
def remove_fields(name: str, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Let these keys no longer leave with events named NAME."""
    store = postgres(Settings.load())
    allow_list.forbid_keys(store, name, keys)
    _show_keys(store, name, as_json=as_json)


@fields.command("list")
@json_option
def list_fields(*, as_json: bool) -> None:
    """Show every rule for keys, also those of names that are not in the allow list."""
    found = allow_list.rules(postgres(Settings.load()))
    if as_json:
        print_json(found)
        return
    table = Table("event", "keys that leave", "", title="Keys", title_justify="left")
    for one in found:
        told = "" if one.is_allowed else "[yellow]its name is not in the allow list[/]"
        table.add_row(escape(one.event), escape(", ".join(one.keys)), told)
    new_console().print(table if found else "No key of any payload leaves.")


def _show_keys(store: Postgres, name: str, *, as_json: bool) -> None:
    keys = allow_list.keys_of(store, name)
    if as_json:
        print_json({"event": name, "keys": keys})
    else:
        click.echo(f"With {name} leave: {', '.join(keys) or 'no keys'}.")
