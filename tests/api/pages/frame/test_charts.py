"""Charts hold nothing that the page's policy refuses, draw no line over what is unknown, and escape names."""

import re

from analytics_pipeline.api.pages.frame.charts import Chart, Series


def test_svg__of_hostile_names__escapes_them_and_has_no_style_or_script() -> None:
    hostile = "<script>alert(1)</script>"
    drawn = Chart("t", (hostile, "b"), (Series(hostile, (1, 2)), Series("other", (3, None)))).svg

    assert "<script" not in drawn
    assert "<style" not in drawn
    assert " style=" not in drawn
    assert " id=" not in drawn
    assert "&lt;script&gt;" in drawn


def test_svg__a_value_is_unknown__is_a_gap() -> None:
    known = Chart("t", tuple("abcde"), (Series("one", (1, 2, 5, 3, 4)),)).svg
    gap = Chart("t", tuple("abcde"), (Series("one", (1, 2, None, 3, 4)),)).svg

    assert (known.count("<circle"), gap.count("<circle")) == (5, 4)
    assert (_lines(known), _lines(gap)) == (1, 2)


def _lines(drawn: str) -> int:
    """How many lines the series is drawn with."""
    return sum(path.count("M") for path in re.findall(r'<path d="([^"]*)" class="line', drawn))


def test_svg__resting_on_a_dot__tells_label_and_value() -> None:
    assert "<title>a: 1,234</title>" in Chart("t", ("a",), (Series("one", (1234,)),)).svg


def test_rows__of_a_chart__are_its_table() -> None:
    chart = Chart("t", ("a", "b"), (Series("one", (1, None)), Series("two", (3, 4))))

    assert chart.rows == [("a", (1, 3)), ("b", (None, 4))]
