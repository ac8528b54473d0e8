"""`analytics-pipeline reporting`."""

import click

from analytics_pipeline.cli.reporting.backfill import backfill
from analytics_pipeline.cli.reporting.compare import compare
from analytics_pipeline.cli.reporting.timezone import timezone


@click.group()
def reporting() -> None:
    """Reporting rollups: give an account its time zone, fill its past, prove that the figures are right.

    \b
    A new account, step by step (each command asks for what it is not told):
      analytics-pipeline reporting timezone            choose its time zone
      analytics-pipeline reporting backfill --dry-run  what its past would take
      analytics-pipeline reporting backfill            roll up its past days
      analytics-pipeline reporting compare             prove the figures

    \b
    In a script:
      analytics-pipeline reporting timezone --account 7 --set Asia/Kolkata --yes
      analytics-pipeline reporting backfill --account 7 --yes
      analytics-pipeline reporting compare --account 7
    """


for command in (timezone, backfill, compare):
    reporting.add_command(command)
