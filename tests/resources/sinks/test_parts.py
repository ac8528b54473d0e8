"""Batches taken apart: every record is delivered once or refused once, whatever the receiver refuses."""

from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.resources.sinks.base import Batch, Delivery, Refusal
from analytics_pipeline.resources.sinks.parts import ContentRefused, around_refused, of_at_most, records_of
from tests.resources.sinks.records import batch


@given(st.integers(1, 40), st.sets(st.integers(1, 40)))
def test_around_refused__any_records_refused__those_alone_and_the_others_in_order(last: int, bad: set[int]) -> None:
    taken: list[Batch] = []
    asked = 0

    def deliver(part: Batch) -> int:
        nonlocal asked
        asked += 1
        if bad & {*part.ids}:
            raise ContentRefused("no")
        taken.append(part)
        return len(part.lines)

    whole = batch(1, last)
    delivery = around_refused(whole, deliver)

    good = [number for number in whole.ids if number not in bad]
    refused = tuple(Refusal(number, "no") for number in whole.ids if number in bad)
    assert [number for part in taken for number in part.ids] == good
    assert delivery == Delivery(sum(len(part.lines) for part in taken), refused)
    assert asked <= 1 + 2 * len(refused) * 7


@given(st.integers(1, 30), st.integers(1, 40))
def test_of_at_most__any_size__parts_hold_the_records_in_order(last: int, most: int) -> None:
    whole = batch(1, last)

    parts = of_at_most(whole, most)

    assert all(len(part.ids) == len(records_of(part)) <= most for part in parts)
    assert sum((part.ids for part in parts), ()) == whole.ids
    assert b"".join(part.lines for part in parts) == whole.lines
