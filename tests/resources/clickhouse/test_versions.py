"""Versions: the later load wins, whatever the clocks say."""

from datetime import datetime, timedelta, timezone

import time_machine

from analytics_pipeline.resources.clickhouse.versions import later_than

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=timezone.utc)
WHOLE = NOON.replace(microsecond=123_000)
STEP = timedelta(milliseconds=1)


@time_machine.travel(NOON, tick=False)
def test_later_than__nothing_or_earlier_versions__is_now_in_milliseconds() -> None:
    assert later_than() == WHOLE
    assert later_than(WHOLE - timedelta(days=1), WHOLE - STEP) == WHOLE


@time_machine.travel(NOON, tick=False)
def test_later_than__versions_of_a_faster_clock__is_one_step_after_the_latest() -> None:
    ahead = NOON + timedelta(hours=1)

    assert later_than(WHOLE) == WHOLE + STEP
    assert later_than(ahead, WHOLE) == ahead + STEP


def test_later_than__a_moment_of_another_zone__is_that_moment_in_utc() -> None:
    moment = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))

    found = later_than(WHOLE - STEP, moment=moment)

    assert (found, found.tzinfo) == (WHOLE, timezone.utc)
    assert later_than(WHOLE, moment=moment) == WHOLE + STEP
