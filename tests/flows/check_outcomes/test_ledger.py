"""What checks came to: by day, with what died or came late, and over all days."""

from datetime import date, datetime, timedelta

import pytest

from analytics_pipeline.flows.check_outcomes.ledger import Check, CheckLedger, Found, Outcome, forget_removed
from analytics_pipeline.flows.check_outcomes.reads import CheckState, check_outcomes, check_states
from tests.product import Product

FLOW, ASSET, NAME = "reporting", "reporting_rollups", "rollups_equal_events"
FIRST, SECOND = date(2026, 1, 5), date(2026, 1, 6)


@pytest.fixture
def ledger(empty_product: Product) -> CheckLedger:
    return CheckLedger(empty_product.postgres, Check(FLOW, ASSET, NAME, "error"), "run")


def outcomes(ledger: CheckLedger) -> dict[date | None, tuple[Outcome, int, str | None]]:
    return {one.day: (one.outcome, one.found, one.reason) for one in check_outcomes(ledger.postgres, [FLOW])}


def state(ledger: CheckLedger) -> CheckState:
    (found,) = check_states(ledger.postgres, [FLOW])
    return found


def looked(ledger: CheckLedger, *found: Found) -> datetime:
    began = ledger.begin([one.day for one in found])
    ledger.record(began, found)
    return began


def test_record__twice__is_there_once_with_the_first_moment_that_it_failed(ledger: CheckLedger) -> None:
    first = looked(ledger, Found(FIRST, "failed", 9, 2), Found(SECOND, "passed", 9))
    second = looked(ledger, Found(FIRST, "failed", 8, 1), Found(SECOND, "passed", 8))

    assert [(one.day, one.failing_since, one.checked_at) for one in check_outcomes(ledger.postgres, [FLOW])] == [
        (FIRST, first, second),
        (SECOND, None, second),
    ]
    assert state(ledger) == CheckState(
        *(FLOW, ASSET, NAME, "failed", "error", 1, FIRST, FIRST, first, 8, 0, None, second, "run")
    )


def test_state__a_day_failed_and_others_passed_since__fails_until_the_day_does_not(ledger: CheckLedger) -> None:
    looked(ledger, Found(FIRST, "failed", 9, 2))
    looked(ledger, Found(SECOND, "passed", 9))
    assert (state(ledger).outcome, state(ledger).last_failing_day) == ("failed", FIRST)

    looked(ledger, Found(FIRST, "passed", 9))

    assert (state(ledger).outcome, state(ledger).failing_days, state(ledger).failing_since) == ("passed", 0, None)


def test_begin__and_the_process_dies__forgets_what_passed_and_keeps_what_failed(ledger: CheckLedger) -> None:
    looked(ledger, Found(FIRST, "failed", 9, 2), Found(SECOND, "passed", 9))

    ledger.begin([FIRST, SECOND, None])

    begun = ("unknown", 0, "the check has begun, and has not ended")
    assert outcomes(ledger) == {FIRST: ("failed", 2, None), SECOND: begun, None: begun}


def test_stop__for_a_reason__says_it_of_all_but_what_failed(ledger: CheckLedger) -> None:
    looked(ledger, Found(FIRST, "failed", 9, 2), Found(SECOND, "passed", 9))

    ledger.stop(ledger.begin([FIRST, SECOND]), [FIRST, SECOND], "lease_held")

    assert outcomes(ledger) == {FIRST: ("failed", 2, None), SECOND: ("unknown", 0, "lease_held")}


def test_record__nothing_is_left_to_compare__fails_no_more(ledger: CheckLedger) -> None:
    looked(ledger, Found(None, "failed", 9, 2))
    looked(ledger, Found(None, "unknown", reason="nothing to compare"))

    assert outcomes(ledger) == {None: ("unknown", 0, "nothing to compare")}
    assert (state(ledger).outcome, state(ledger).reason) == ("unknown", "nothing to compare")


def test_record__of_a_look_that_began_earlier__does_not_overwrite_the_later(ledger: CheckLedger) -> None:
    earlier = ledger.begin([FIRST])
    looked(ledger, Found(FIRST, "passed", 9))

    ledger.record(earlier, [Found(FIRST, "failed", 9, 1)])

    assert outcomes(ledger) == {FIRST: ("passed", 0, None)}


def test_outcomes__page_by_page_and_by_what_they_came_to__are_all_in_their_order(ledger: CheckLedger) -> None:
    other = CheckLedger(ledger.postgres, Check(FLOW, "a", NAME, "warning"), "run")
    elsewhere = CheckLedger(ledger.postgres, Check("segments", "b", NAME, "error"), "run")
    days = [FIRST + timedelta(days=number) for number in range(3)]
    for one in (ledger, other, elsewhere):
        looked(one, *(Found(day, "passed" if day else "failed", 1) for day in (None, *days)))

    read, after = [], None
    while page := check_outcomes(ledger.postgres, [FLOW], after=after, limit=3):
        read += [(one.asset, one.day) for one in page]
        after = page[-1].place

    assert read == [(asset, day) for asset in ("a", ASSET) for day in (None, *days)]
    assert [one.day for one in check_outcomes(ledger.postgres, [FLOW], "failed")] == [None, None]


def test_forget_removed__checks_that_the_code_has_no_more__go_and_those_of_other_flows_stay(
    ledger: CheckLedger,
) -> None:
    for flow, asset, name in ((FLOW, ASSET, NAME), (FLOW, ASSET, "old"), (FLOW, "old", NAME), ("segments", "b", "old")):
        looked(CheckLedger(ledger.postgres, Check(flow, asset, name, "error"), "run"), Found(FIRST, "failed", 1, 1))

    assert [forget_removed(ledger.postgres, [FLOW, "ai_usage"], [(ASSET, NAME)]) for _ in range(2)] == [2, 0]

    assert [(one.flow, one.asset, one.check) for one in check_states(ledger.postgres, [FLOW, "segments"])] == [
        ("segments", "b", "old"),
        (FLOW, ASSET, NAME),
    ]
