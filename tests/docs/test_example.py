"""The worked example of CONTRIBUTING works, in a copy of the repository that it was added to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.example import PAGE, add_to_copy, files, patched, quotes

# The copy's tests have engines of their own.
pytestmark = pytest.mark.timeout(600)
_QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    add_to_copy(tmp_path)
    return tmp_path


def run(copy: Path, *arguments: str) -> str:
    """What a fresh interpreter prints, for which the copy is the repository."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_quotes__of_the_page__are_the_files() -> None:
    assert quotes(PAGE.read_text()) == {path: text for path, text in files().items() if text}


@pytest.mark.parametrize(
    ("folder", "added"),
    [
        ("clickhouse/pre", "environment_sizes.sql"),
        ("clickhouse/post", "environment_sizes_latest.sql"),
        ("postgres/versions", "identity_loads_by_run.py"),
    ],
)
def test_numbers__of_its_migrations__are_the_next_free_ones(copy: Path, folder: str, added: str) -> None:
    before, own = sorted((copy / "analytics_pipeline/migrations" / folder).glob("[0-9]*"))[-2:]
    (before_number, _, _), (number, _, name) = before.name.partition("_"), own.name.partition("_")

    assert (name, int(number), len(number)) == (added, int(before_number) + 1, len(before_number))
    assert folder != "postgres/versions" or (
        f'\nrevision = "{number}"\ndown_revision = "{before_number}"\n' in own.read_text()
    )


def test_patched__lines_that_stay__have_to_stand_there_once() -> None:
    assert patched("a\nb\nc\n", " a\n+new\n b\n@@\n-c\n+last\n") == "a\nnew\nb\nlast\n"
    with pytest.raises(AssertionError, match="2 times"):
        patched("a\na\n", " a\n+new\n")


def test_example__added_to_a_copy__is_seen_by_dagster_and_its_tests_are_found(copy: Path) -> None:
    files = ("tests/test_definitions.py", "tests/assets/test_environment_sizes.py")

    run(copy, "pytest", *_QUIET, *files, "-k", "definitions", "--snapshot-update")

    snapshots = [path.read_text() for path in (copy / "tests/__snapshots__/test_definitions").iterdir()]
    assert any("environment_sizes" in snapshot for snapshot in snapshots)


@pytest.mark.slow
def test_example__added_to_a_copy__passes_its_tests(copy: Path) -> None:
    run(copy, "tests.migrations.test_clickhouse_migrations")
    run(copy, "pytest", *_QUIET, "tests/test_definitions.py", "--snapshot-update")

    shown = run(
        copy,
        *(
            "pytest",
            *_QUIET,
            "tests/assets/test_environment_sizes.py",
            "tests/migrations/test_clickhouse_migrations.py",
        ),
        *("tests/test_definitions.py", "-k", "sizes or rendered or tables or definitions"),
    )

    assert re.search(r"\b\d+ passed, \d+ deselected", shown), shown


@pytest.mark.slow
def test_example__added_to_a_copy__passes_lint_and_types(copy: Path) -> None:
    added = [path for path in files() if "environment_sizes" in path and path.endswith(".py")]

    run(copy, "ruff", "check", *added)
    run(copy, "ruff", "format", "--check", *added)
    run(copy, "mypy", *added)
