"""What commands print: JSON from everything that reads, lines that a pipe gets whole, tables that fit 80 columns."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from datetime import date, datetime, timezone
from itertools import pairwise

import pytest
from rich.table import Table

from analytics_pipeline.cli.output import new_console, new_progress, print_json
from analytics_pipeline.migrations import status as migration_status
from tests.cli.commands import GAPS, run, run_json
from tests.product import Product

LONG = "analytics-pipeline reporting backfill --account all --recopy --from 2026-01-01 --to 2026-03-31 --yes and more"


def test_json__of_migrations_and_enablements__is_what_the_tables_show(product: Product) -> None:
    migrations = run_json("migrate", "status")

    assert [(one["store"], one["phase"], one["name"], one["state"]) for one in migrations] == [
        (one.store, one.phase, one.name, one.state) for one in migration_status(product.settings)
    ]
    assert (run_json("migrate", "dry-run"), run_json("enablement", "status")) == ([], [])


def test_json__of_reporting__asks_nothing_and_changes_nothing(product: Product) -> None:
    product.execute(
        "INSERT INTO accounts (id, name, settings) VALUES (7, 'Seven', '{\"reporting_timezone\": \"UTC\"}')"
    )

    assert run_json("reporting", "timezone", "--account", "7")["id"] == 7
    assert "Asia/Kolkata" in [zone["name"] for zone in run_json("reporting", "timezone", "--offset", "+5:30")]
    assert run_json("reporting", "backfill", "--account", "7", "--dry-run") is None
    compared = run("reporting", "compare", "--account", "7", "--json")
    assert (json.loads(compared.stdout)["keys"], compared.exit_code) == (0, GAPS)
    assert run("reporting", "timezone", "--json").exit_code == 2
    assert run("reporting", "backfill", "--account", "7", "--json").exit_code == 2


def test_print_json__moments_and_days__are_iso_8601(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"day": date(2026, 1, 2), "at": datetime(2026, 1, 2, 3, tzinfo=timezone.utc), "name": "Ä"})

    assert json.loads(capsys.readouterr().out) == {"day": "2026-01-02", "at": "2026-01-02T03:00:00Z", "name": "Ä"}


def test_console__in_a_pipe__breaks_no_line_and_prints_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console = new_console()
    table = Table("name", "command")
    table.add_row("x" * 100, LONG)
    with new_progress(console) as progress:
        progress.add_task("working", total=2)
        console.print(LONG)
    console.print(table)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == LONG
    assert f"│ {'x' * 100} │ {LONG} │" in lines
    assert "working" not in "".join(lines)


def test_console__on_a_terminal_of_80_columns__lets_the_terminal_wrap_text() -> None:
    """What is copied from a terminal is the line as it was written: a line feed in it would break a command."""
    script = f"from analytics_pipeline.cli.output import new_console; new_console().print({LONG!r})"
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    subprocess.run([sys.executable, "-c", script], stdout=child, env=environment, check=True)
    os.close(child)
    shown = os.read(parent, 1 << 16).decode()
    os.close(parent)
    assert shown == f"{LONG}\r\n"


@pytest.mark.parametrize("command", ["migrate status", "stack status", "reporting timezone --offset -3"])
def test_table__on_80_columns__fits_and_breaks_no_name(
    command: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    rows = [line for line in run(*command.split()).stdout.splitlines() if line.startswith("│")]

    assert rows
    assert max(map(len, rows)) <= 80
    # A cell that was broken goes on in a row whose first cell is empty.
    first = [row.strip("│").split("│")[0].strip() for row in rows]
    assert [below for _, below in pairwise(first) if not below] == []
