"""The `analytics-pipeline` command. Commands are imported when they are asked for, so that `--help` answers at once."""

import importlib
from typing import Any

import click

from analytics_pipeline.cli.errors import reported

_COMMANDS = {
    "demo": "analytics_pipeline.cli.demo:demo",
    "dev": "analytics_pipeline.cli.dev:dev",
    "doctor": "analytics_pipeline.cli.doctor:doctor",
    "migrate": "analytics_pipeline.cli.migrate:migrate",
    "stack": "analytics_pipeline.cli.stack:stack",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        with reported():
            return super().invoke(ctx)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="analytics-pipeline")
def main() -> None:
    """Turn a SaaS product's operational data into ClickHouse analytics you can trust.

    \b
    New here?         analytics-pipeline demo      runs everything once on embedded engines
    Look around:      analytics-pipeline dev       the Dagster UI with demo data
    Your own stores:  set the variables of .env.example, then
                      analytics-pipeline doctor    tells what is missing
                      analytics-pipeline migrate all

    \b
    Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 something is missing or pending,
    4 the configuration is not valid, 5 a store cannot be reached.

    Settings come from the environment; a file .env in the current directory is read as well, without overriding it.
    """
    from dotenv import load_dotenv

    load_dotenv(".env")
