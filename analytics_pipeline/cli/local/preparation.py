"""Prepares the engines of `demo` and `dev` before Dagster starts: migrations, and the demo product."""

import os
from pathlib import Path

import click
from rich.console import Console

from analytics_pipeline.cli.output import new_progress
from analytics_pipeline.config import Settings
from analytics_pipeline.migrations import migrate


def prepare_demo(environment: dict[str, str], console: Console) -> None:
    """Export the environment, migrate both stores and load the demo product where it is missing.

    Partitions begin where the data do, which the environment tells from then on.
    """
    from analytics_pipeline.demo.load import DemoRefusedError, first_days, load_demo_product
    from analytics_pipeline.demo.usage_export import export_environment
    from analytics_pipeline.embedded.environment import note_start_dates

    os.environ.update(environment)
    settings = Settings.load()
    with console.status("Migrating Postgres and ClickHouse …"):
        applied = migrate(settings)
    console.print(f"[green]✓[/] Schemas are up to date ({len(applied)} migrations applied)")
    with new_progress(console) as progress:
        tasks = {}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        try:
            product = load_demo_product(environment["DATABASE_URL"], environment["IDENTITIES_TABLE"], progress=report)
        except DemoRefusedError as error:
            raise click.ClickException(str(error)) from error
    home = Path(environment["ANALYTICS_HOME"])
    environment |= note_start_dates(home, first_days(environment["DATABASE_URL"])) | export_environment(home)
    os.environ.update(environment)
    console.print(
        f"[green]✓[/] Demo product: {product.organisations} organisations, {product.projects} projects,"
        f" {product.environments} environments, {product.live_segments} segments, {product.identities:,} identities"
    )
