"""`analytics-pipeline demo` as a newcomer runs it: a real process on engines of its own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.stack_harness import temporary_home
from tests.product import today


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


# Two minutes alone on 2 cores; other tests take their share of them.
TIMEOUT_SECONDS = 600
pytestmark = pytest.mark.timeout(2 * TIMEOUT_SECONDS + 60)


def demo(home: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from analytics_pipeline.cli import main; main()", "demo", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            shown, told = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            # Killed, it would leave its Dagster behind.
            process.send_signal(signal.SIGINT)
            raise
    return subprocess.CompletedProcess(command, process.returncode, shown, told)


def test_demo__first_run__shows_what_ran_and_what_came_out(home: Path) -> None:
    result = demo(home)

    assert (result.returncode, result.stderr) == (0, "")
    assert f"Materialising every asset for {today()} through Dagster" in result.stdout
    for shown in ("raw_identities", "identity_snapshots", "segment_counts", "Live patients only", "make dev"):
        assert shown in result.stdout


@pytest.mark.slow
def test_demo__second_run__works_again_and_keeps_the_data(home: Path) -> None:
    assert demo(home).returncode == 0
    result = demo(home)

    assert (result.returncode, result.stderr) == (0, "")
    assert "Schemas are up to date (0 migrations applied)" in result.stdout
