"""Panels: what several of them need is asked for once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest

from analytics_pipeline.api.pages.frame.panels import once


def test_once__asked_by_several_at_the_same_time__asks_once() -> None:
    asked, start = count(1), Barrier(4)
    answer = once(lambda: next(asked))

    def ask() -> int:
        start.wait(timeout=10)
        return answer()

    with ThreadPoolExecutor(4) as threads:
        found = [one.result() for one in [threads.submit(ask) for _ in range(4)]]

    assert found == [1, 1, 1, 1]


def test_once__the_question_fails__each_is_told() -> None:
    def refuse() -> int:
        raise ValueError("no")

    answer: Callable[[], int] = once(refuse)

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            answer()
