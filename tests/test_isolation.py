"""Work that units share: culprits end alone, and the others keep their results."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.isolation import Culprit, Done, isolated


@given(units=st.lists(st.integers(), unique=True), bad=st.sets(st.integers()))
def test_isolated__any_culprits__are_alone_and_the_others_are_done_once(units: list[int], bad: set[int]) -> None:
    def work(part: Sequence[int]) -> list[int]:
        if bad & set(part):
            raise ValueError(part)
        return list(part)

    outcomes = list(isolated(units, work, lambda error: isinstance(error, ValueError)))

    done = [unit for outcome in outcomes if isinstance(outcome, Done) for unit in outcome.result]
    culprits = [outcome.unit for outcome in outcomes if isinstance(outcome, Culprit)]
    assert (done, culprits) == ([one for one in units if one not in bad], [one for one in units if one in bad])


def test_isolated__one_culprit_of_many__costs_two_attempts_for_each_halving() -> None:
    attempts: list[int] = []

    def work(part: Sequence[int]) -> None:
        attempts.append(len(part))
        if 77 in part:
            raise ValueError

    list(isolated(range(128), work, lambda _: True))

    assert len(attempts) == 15


def test_isolated__error_that_blames_nobody__is_raised_at_once() -> None:
    attempts: list[int] = []

    def work(part: Sequence[int]) -> None:
        attempts.append(len(part))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(isolated([1, 2], work, lambda error: isinstance(error, ValueError)))
    assert attempts == [2]
