"""`analytics-pipeline settings`: the demo product's admin page."""

import click

from analytics_pipeline.cli.output import json_option, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.postgres import postgres


@click.group()
def settings() -> None:
    """Settings of the demo product, as its admin page would save them. Refused on any other database."""


@settings.command("set", short_help="Switch AI usage in ClickHouse on or off.")
@click.argument("name", type=click.Choice(["use_clickhouse_for_analytics"]))
@click.argument("value", type=click.Choice(["on", "off"]))
@json_option
def set_(name: str, value: str, *, as_json: bool) -> None:
    """Switch AI usage in ClickHouse on or off; the sensor `enablement` follows within 30 seconds."""
    from analytics_pipeline.demo.load import DemoRefusedError, save_application_settings

    store = postgres(Settings.load())
    with store.connect():
        """A database that does not answer is told as by every other command."""
    try:
        changed = save_application_settings(store.url, use_clickhouse_for_analytics=value == "on")
    except DemoRefusedError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({"name": name, "value": value == "on", "was_changed": changed})
    else:
        click.echo(f"{name} is {value}{'' if changed else ' already'}. Look with: analytics-pipeline enablement status")
