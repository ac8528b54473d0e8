"""The state machine of an epoch, without any store."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.enablement.epochs import (
    DEAD,
    DEAD_THOUGH_LISTED,
    Action,
    Attempt,
    Changes,
    Epoch,
    Opening,
    Run,
    State,
    changes,
    next_action,
)

NOW = datetime(2026, 5, 20, 12, tzinfo=timezone.utc)
EPOCH = Epoch(
    feature="ai_usage",
    scope="instance",
    epoch=1,
    setting="on",
    state="requested",
    source_first_day=date(2026, 5, 1),
    first_day=date(2026, 5, 1),
    last_day=date(2026, 5, 20),
    attempt=1,
    last_attempt=5,
    next_attempt_at=NOW,
    run_id="",
    heartbeat_at=None,
    rows=None,
    error="",
    is_reset=False,
    from_scratch=False,
    requested_at=NOW,
    seen_on_at=NOW,
    started_at=None,
    completed_at=None,
    closed_at=None,
)
COMPLETED = replace(EPOCH, state="completed", completed_at=NOW)
CLOSED = replace(COMPLETED, closed_at=NOW)
NOTHING = Changes((), (), ())


def opens(scope: str, epoch: int, *, from_scratch: bool = False) -> Changes:
    return Changes((), (Opening(scope, "on", epoch, from_scratch),), ())


def test_changes__first_seen_on__opens_for_the_whole_history() -> None:
    assert changes({"instance": "on"}, {}) == opens("instance", 1)


def test_changes__still_on__is_only_seen() -> None:
    assert changes({"instance": "on"}, {"instance": EPOCH}) == Changes((), (), (EPOCH,))


def test_changes__seen_off__closes() -> None:
    assert changes({}, {"instance": EPOCH}) == Changes((EPOCH,), (), ())


def test_changes__still_off__nothing() -> None:
    assert changes({}, {"instance": CLOSED}) == NOTHING


@pytest.mark.parametrize("state", ["requested", "running", "completed", "failed"])
def test_changes__on_again__opens_for_what_the_ledgers_lack(state: State) -> None:
    assert changes({"instance": "on"}, {"instance": replace(CLOSED, state=state)}) == opens("instance", 2)


@pytest.mark.parametrize(
    ("before", "from_scratch"),
    [
        (replace(CLOSED, is_reset=True), True),
        (replace(CLOSED, state="running", from_scratch=True), True),
        (replace(CLOSED, state="completed", from_scratch=True), False),
    ],
)
def test_changes__on_again_after_a_reset__opens_for_the_whole_history_until_it_was_completed(
    before: Epoch, from_scratch: bool
) -> None:
    assert changes({"instance": "on"}, {"instance": before}) == opens("instance", 2, from_scratch=from_scratch)


def test_changes__other_setting__closes_and_opens_for_the_whole_history() -> None:
    paris = replace(COMPLETED, scope="account:7", setting="Europe/Paris")

    assert changes({"account:7": "Asia/Kolkata"}, {"account:7": paris}) == Changes(
        (paris,), (Opening("account:7", "Asia/Kolkata", 2),), ()
    )


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y"]), max_size=3), max_size=20))
def test_changes__any_sequence_of_observations__one_open_epoch_for_each_scope_that_is_on(
    observations: list[dict[str, str]],
) -> None:
    newest: dict[str, Epoch] = {}
    for observed in observations:
        found = changes(observed, newest)
        for epoch in found.close:
            newest[epoch.scope] = replace(epoch, closed_at=NOW)
        for opening in found.open:
            before = newest.get(opening.scope)
            assert before is None or before.closed_at is not None
            assert opening.epoch == (before.epoch + 1 if before else 1)
            newest[opening.scope] = replace(EPOCH, scope=opening.scope, setting=opening.setting, epoch=opening.epoch)
        is_open = {scope: epoch.setting for scope, epoch in newest.items() if epoch.closed_at is None}
        assert is_open == observed
        again = changes(observed, newest)
        assert (again.close, again.open) == ((), ())


LIVE, ENDED = Run("run", has_ended=False, status="STARTED"), Run("run", has_ended=True, status="FAILURE")
RUNNING = replace(EPOCH, state="running", run_id="run", heartbeat_at=NOW)


@pytest.mark.parametrize(
    ("epoch", "runs", "action"),
    [
        (EPOCH, [], "ask"),
        (replace(EPOCH, next_attempt_at=NOW + timedelta(seconds=1)), [], "wait"),
        (EPOCH, [LIVE], "wait"),
        (EPOCH, [ENDED], "fail"),
        (EPOCH, [ENDED, LIVE], "wait"),
        (RUNNING, [LIVE], "wait"),
        (RUNNING, [], "wait"),
        (RUNNING, [ENDED], "fail"),
        (RUNNING, [replace(ENDED, run_id="another")], "wait"),
        (replace(RUNNING, heartbeat_at=NOW - DEAD - timedelta(seconds=1)), [], "fail"),
        (replace(RUNNING, heartbeat_at=NOW - DEAD - timedelta(seconds=1)), [LIVE], "wait"),
        (replace(RUNNING, heartbeat_at=NOW - DEAD_THOUGH_LISTED - timedelta(seconds=1)), [LIVE], "fail"),
        (replace(EPOCH, state="failed"), [ENDED], "wait"),
    ],
)
def test_next_action__history_is_not_complete__follows_its_runs(epoch: Epoch, runs: list[Run], action: Action) -> None:
    assert next_action(epoch, runs, is_complete=False, now=NOW) == action
    assert next_action(epoch, runs, is_complete=True, now=NOW) == "complete"


@given(st.from_regex(r"[a-z_]+", fullmatch=True), st.text(min_size=1), st.integers(1), st.integers(1))
def test_attempt__as_text__is_read_back(feature: str, scope: str, epoch: int, number: int) -> None:
    attempt = Attempt(feature, scope, epoch, number)

    assert Attempt.parse(str(attempt)) == attempt


@pytest.mark.parametrize("text", ["", "a", "a:b", "a:b:c:d", "a:b:1:x"])
def test_attempt__of_another_text__is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        Attempt.parse(text)
