"""Findings of `analytics-pipeline doctor` about Dagster: its home and its storage."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from analytics_pipeline.cli.findings.base import ALL, Finding, short
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.postgres import postgres


def dagster_home(value: str) -> Finding:
    """Whether DAGSTER_HOME, whose `value` this is, can serve Dagster."""
    directory, repair = Path(value), 'mkdir -p "$DAGSTER_HOME" && cp dagster.yaml "$DAGSTER_HOME/"'
    if not value:
        return Finding("DAGSTER_HOME", "not set", f"set DAGSTER_HOME to a directory of its own, then {repair}", ALL)
    if not directory.is_absolute():
        return Finding("DAGSTER_HOME", f"{value} is not absolute, and Dagster refuses it", "set the whole path", ALL)
    if not directory.is_dir() or not os.access(directory, os.W_OK):
        return Finding("DAGSTER_HOME", f"{value} is not a directory that can be written", repair, ALL)
    if not (directory / "dagster.yaml").is_file():
        return Finding("DAGSTER_HOME", f"{value} has no dagster.yaml", repair, ALL)
    return Finding("DAGSTER_HOME", f"{value} has a dagster.yaml")


def dagster_storage(settings: Settings) -> Iterator[Finding]:
    """Whether the database answers in which Dagster keeps its runs."""
    if settings.dagster_postgres_url is None:
        yield Finding("Dagster storage", "not configured", "set DAGSTER_POSTGRES_URL", ALL)
        return
    only = settings.model_copy(update={"database_url": settings.dagster_postgres_url})
    try:
        replace(postgres(only), variable="DAGSTER_POSTGRES_URL").query("SELECT 1")
    except ConnectionError as error:
        yield Finding("Dagster storage", short(error), "check DAGSTER_POSTGRES_URL", ALL)
    else:
        yield Finding("Dagster storage", "answers")
