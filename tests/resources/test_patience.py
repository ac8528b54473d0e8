"""Peers that know no limit: what they answer arrives, and who does not answer costs neither time nor threads."""

import threading
import time

import pytest

from analytics_pipeline.resources.patience import NoAnswer, Patience


def _fails() -> None:
    raise ValueError("no")


def test_wait_for__answer_or_error__is_passed_on() -> None:
    patience = Patience("the peer", 5)

    assert patience.wait_for(lambda a, b: (a, b), 1, b=2) == (1, 2)
    with pytest.raises(ValueError, match=r"^no$"):
        patience.wait_for(_fails)


def test_wait_for__peer_never_answers__is_asked_by_no_more_than_so_many_threads() -> None:
    patience = Patience("the peer", 0.02)
    ends = threading.Event()
    before, begun = threading.active_count(), time.monotonic()
    try:
        for _ in range(30):
            with pytest.raises(NoAnswer, match=r"^the peer has not answered within 0\.02 s$"):
                patience.wait_for(ends.wait, 60)
        assert threading.active_count() <= before + 16
        assert time.monotonic() - begun < 20
    finally:
        ends.set()
