"""The `analytics-pipeline` command. Commands are imported when they are asked for, so that `--help` answers at once."""

import importlib
import logging
import signal
from typing import Any

import click
from dotenv import load_dotenv

from analytics_pipeline.cli.errors import reported

# Where each command is and what `--help` says of it: importing all of them for that would take seconds.
_COMMANDS = {
    "demo": ("local.demo:demo", "Run the whole pipeline once on embedded engines and show what came out."),
    "dev": ("local.dev:dev", "Open the Dagster UI on embedded engines with demo data."),
    "doctor": ("doctor:doctor", "Check configuration, connections, source tables and migrations."),
    "enablement": ("enablement:enablement", "Histories of features that were switched on: status, retry, reset."),
    "events": ("events:events", "Events of product services: see them come in, look after rejected ones."),
    "export": ("export:export", "Usage export: which events leave, how far each sink is, pause, replay, test."),
    "forget": ("forget:forget", "Remove somebody for good: an identity, a user, an account, an organisation."),
    "grants": ("grants:grants", "Print the SQL of organisations' own users of ClickHouse."),
    "ingest": ("ingest:ingest", "Take the events that product services send."),
    "mcp": ("mcp:mcp", "Let an assistant read what the pipeline computes."),
    "migrate": ("migrate:migrate", "Bring the schemas of Postgres and ClickHouse up to date."),
    "reporting": ("reporting:reporting", "Reporting rollups: time zones, backfills, comparison with the raw events."),
    "serve": ("serve:serve", "Serve what the pipeline computes: the read API."),
    "settings": ("local.settings:settings", "Switch a setting of the demo product, as its admin page would."),
    "stack": ("local.stack:stack", "Start and stop the embedded engines alone."),
    "token": ("token:token", "Tokens with which services send events and readers read."),
}
# The others work on the embedded engines, which must not meet production's settings.
_ON_YOUR_STORES = (
    "doctor",
    "enablement",
    "events",
    "export",
    "forget",
    "grants",
    "ingest",
    "mcp",
    "migrate",
    "reporting",
    "serve",
    "settings",
    "token",
)


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        with reported():
            return super().invoke(ctx)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="analytics-pipeline")
@click.pass_context
def main(context: click.Context) -> None:
    """Turn a SaaS product's operational data into ClickHouse analytics you can trust.

    \b
    New here?         analytics-pipeline demo      runs everything once on embedded engines
    Look around:      analytics-pipeline dev       the Dagster UI with demo data
    Your own stores:  set the variables of .env.example, then
                      analytics-pipeline doctor    tells what is missing
                      analytics-pipeline migrate all

    \b
    Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 something is missing or pending,
    4 the configuration is not valid, 5 a store cannot be reached, 130 interrupted by Ctrl-C.

    Settings come from the environment; demo, dev and stack set their own, the other commands also read a file .env in
    the current directory, without overriding it.
    """
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.default_int_handler):
        # Loading is over, which Ctrl-C ended on the spot: from here on commands have something to tidy up.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What the client warns of when a server is away, the command's own error says, with the repair.
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)
    if context.invoked_subcommand in _ON_YOUR_STORES:
        load_dotenv(".env")
