"""Runs a command as operators do, in this process."""

import json
from typing import Any

from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.config import Settings

DONE, FAILED, USAGE, GAPS, CONFIGURATION, UNREACHABLE = range(6)
VARIABLES = [*Settings.model_fields, *(f"source_{name}" for name in dict(Settings().sources)), "dagster_home"]


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def run_json(*arguments: str) -> Any:
    """What the command prints with --json; nothing else may be on stdout."""
    return json.loads(run(*arguments, "--json").stdout)
