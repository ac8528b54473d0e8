"""A run that dies at any of its I/O calls: the next one ends as if it had lived, and no file has other content."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.usage_export.event_log import add_events, allow
from tests.product import Product


def _check(product: Product, directory: Path, every: int, at_least: int) -> None:
    allow(product, "ViewSearch")
    add_events(product, 9)
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.usage_export.dying", str(directory), str(every)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= at_least

    received = {sink.name: _received(sink) for sink in directory.iterdir()}
    assert {*received.values()} == {(("1-2", (1, 2)), ("2-3", (2, 3)), ("3-4", (3, 4)), *_LIVE)}
    assert product.execute(
        "SELECT DISTINCT bookmark_id, planned_delivery IS NULL, exported"
        " FROM analytics_pipeline.event_logs_scrape_state"
    ) == [(9, True, 11)]
    assert product.execute(
        "SELECT DISTINCT status, error FROM analytics_pipeline.export_deliveries"
        " UNION SELECT DISTINCT 'unfinished', '' FROM analytics_pipeline.event_logs_export_past"
        " WHERE finished_at IS NULL"
    ) == [("delivered", "")]


_LIVE = (("5-6", (5, 6)), ("7-8", (7, 8)), ("9-9", (9,)))


def _received(sink: Path) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The files of a sink, by name, with the ids in them."""
    files = {path.stem: path.read_text().splitlines() for path in sink.glob("*.ndjson")}
    return tuple((name, tuple(json.loads(line)["event_log_id"] for line in files[name])) for name in sorted(files))


def test_export__dies_at_some_of_its_calls__the_next_run_ends_as_if_it_had_not(
    empty_product: Product, tmp_path: Path
) -> None:
    _check(empty_product, tmp_path, every=23, at_least=4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_export__dies_at_each_of_its_calls__the_next_run_ends_as_if_it_had_not(
    empty_product: Product, tmp_path: Path
) -> None:
    _check(empty_product, tmp_path, every=1, at_least=80)
