"""Every script, piece of Python and run configuration of the documentation works as it stands there.

A script runs in a directory that looks like a checkout, on the product of the test, as an operator would run it: with
bash, our command and the environment of the stores.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
import time_machine
import yaml

from tests import resolved
from tests.docs.pages import ROOT, Block, to_run
from tests.product import Product, today

_CHECKOUT = (".env.example", ".venv", "analytics_pipeline", "dagster.yaml", "pyproject.toml", "tests", "workspace.yaml")
_YESTERDAY = today() - timedelta(days=1)
# The status of a history is also how a script ends.
_ENDINGS: Mapping[str, int] = {"analytics-pipeline enablement status": 1}


@pytest.fixture
def checkout(stack_environment: Mapping[str, str]) -> Iterator[Path]:
    """Short, because Postgres's socket is below it."""
    assert stack_environment
    directory = Path(tempfile.mkdtemp(prefix="docs-"))
    for name in _CHECKOUT:
        (directory / name).symlink_to(ROOT / name)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def prepared(product: Product) -> Product:
    """What the scripts speak of is there: project 11, yesterday's and today's capture, histories that were given up."""
    product.add_project(11)
    product.add_environment(101, 11, key="eleven")
    product.add_segment(2, [], 11)
    for day in (_YESTERDAY, today()):
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
        with time_machine.travel(noon, tick=True):
            assert product.materialise("raw_identities", day=day).success
    product.execute("CREATE SCHEMA dagster")
    for feature, scope in (("ai_usage", "instance"), ("reporting", "account:7")):
        product.execute(
            "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, state, last_attempt)"
            " VALUES (%s, %s, 1, 'on', 'failed', 1)",
            feature,
            scope,
        )
    return product


def run(script: str, checkout: Path) -> "subprocess.CompletedProcess[str]":
    """Ends at the first command that fails."""
    home = checkout / "dagster_home"
    home.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        # Dagster's tables go with the test's database, in a schema of their own: one has the name of the product's.
        "DAGSTER_POSTGRES_URL": f"{os.environ.get('DATABASE_URL', '?')}&options=-csearch_path%3Ddagster",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def _scripts() -> list[object]:
    """Those that launch runs take half a minute, those that start engines ten seconds; tests/embedded starts them."""
    slow = {block for block in to_run("bash") if "dg launch" in block.text or "stack up" in block.text}
    return [pytest.param(block, id=str(block), marks=[pytest.mark.slow] * (block in slow)) for block in to_run("bash")]


@pytest.mark.parametrize("block", _scripts())
def test_script__as_it_stands_there__works(block: Block, prepared: Product, checkout: Path) -> None:
    try:
        done = run(block.text, checkout)
    finally:
        if (checkout / ".analytics").exists():
            run("analytics-pipeline stack down --home .analytics", checkout)

    assert done.returncode == _ENDINGS.get(block.text.strip(), 0), done.stdout + done.stderr


def test_script__with_a_command_that_fails__is_noticed(checkout: Path) -> None:
    assert run("false\ntrue", checkout).returncode == 1
    assert run("analytics-pipeline migrate everything", checkout).returncode == 2


@pytest.mark.parametrize("block", to_run("python"), ids=str)
def test_python__as_it_stands_there__works(block: Block, product: Product) -> None:
    product.switch_ai_usage(on=True)
    product.add_suggestion(datetime.now(timezone.utc), namespace_path="1/2/")
    assert product.materialise("duo_chat_events", "code_suggestion_events", "ai_usage_daily").success

    exec(compile(block.text, str(block), "exec"), {})  # noqa: S102 - the text is ours


@pytest.mark.parametrize("block", to_run("yaml"), ids=str)
def test_run_config__as_it_stands_there__is_one_of_our_assets(block: Block) -> None:
    job = resolved.all_assets_job()

    assert dg.validate_run_config(job, yaml.safe_load(block.text))
