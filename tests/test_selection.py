"""`make check` runs the tests of what has changed."""

from tests import selection
from tests.docs.pages import ROOT
from tests.selection import mirrors_of


def test_changed__modules_tests_and_other_files__name_the_tests_that_mirror_them() -> None:
    changed = [
        "analytics_pipeline/flows/segments/refresh.py",
        "tests/assets/test_segments.py",
        "docs/segments.md",
        "analytics_pipeline/migrations/clickhouse/pre/001_tables.sql",
        "benchmarks/counting.py",
    ]

    assert mirrors_of(changed) == {"tests/flows/segments/test_refresh.py", "tests/assets/test_segments.py"}


def test_places__of_which_the_order_of_tests_speaks__are_there() -> None:
    assert [place for place in {*selection._LONG, *selection._TOGETHER} if not (ROOT / place).exists()] == []
