"""What `demo` says at its end of what ran."""

from io import StringIO

from rich.console import Console

from analytics_pipeline.cli.local.materialise import Materialised
from analytics_pipeline.cli.local.summary import show_runs


def test_runs__figures_of_nothing_yet__say_why() -> None:
    heard = StringIO()
    figures = {"dagster/partition_row_count": 0, "events": 0}
    show_runs(Console(file=heard, width=100), [Materialised("daily_event_counts", "done", 0.6, figures)])

    row = next(line for line in heard.getvalue().splitlines() if "daily_event_counts" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["daily_event_counts", "done", "0", "0.6", "no event older than a minute yet"]
