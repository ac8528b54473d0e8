"""`analytics-pipeline doctor --views`."""

import sys
from typing import NoReturn

import click

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.contract_views import view_statements
from analytics_pipeline.resources.postgres import postgres


def print_views(settings: Settings) -> NoReturn:
    """Print the statements, and nothing else, so that they can be kept in a file. Nothing is changed.

    Raises:
        NotConfigured: there is no source to look at.
    """
    statements = view_statements(postgres(settings))
    click.echo("\n\n".join(statements) or "-- Nothing is named or typed otherwise: no view is needed.")
    sys.exit(Exit.GAPS if statements else Exit.DONE)
