"""Histories in which something once went wrong, as they were found, and what has to come of them.

They were tried against the faults that they are for. Where `held_days.unheld_days` finds nothing, so that nobody asks
the store, the one in which stores lose days ends with rows missing in each copy and all figures. Where `swap_days` does
not forget the days before it swaps them either, the one that dies after its swap ends with the ghost of a row.
"""

from datetime import datetime, time, timedelta, timezone

import pytest

from tests.simulation import truth
from tests.simulation.faults import Fault
from tests.simulation.history import START
from tests.simulation.machine import Simulation
from tests.simulation.source import moved
from tests.simulation.worker import Look

_FOLLOWERS = {
    "reporting_events": "reporting_late_rows",
    "ai_duo_chat_events": "ai_usage_late_rows",
    "ai_code_suggestion_events": "ai_usage_late_rows",
}


def started(machine: type[Simulation]) -> Simulation:
    """All flows have brought in a product that has something of everything, two days ago and yesterday."""
    history = machine()
    history.begin(zone="Asia/Kolkata", ai=True, segments=True)
    for relation in _FOLLOWERS:
        for days in (1, 2):
            history.put(relation, days, 5, "first_response", 3.0, 1)
    history.identity("key-a", "alice", "pro")
    settle(history)
    return history


def settle(history: Simulation) -> None:
    """Everything looks, and looks again at what has come of it."""
    for _ in range(3):
        history.look_at_everything()
        history.clock.forward(timedelta(minutes=20))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stores__lose_days_of_every_table__all_of_them_come_back(machine: type[Simulation]) -> None:
    history = started(machine)
    for flow in history.flows:
        for table in flow.tables:
            history.lose_partition(table, 0)

    history.settle_and_audit()


@pytest.mark.slow  # tests/sensors/test_lost_days.py has the same death, without a history around it
@pytest.mark.timeout(900)
@pytest.mark.parametrize("relation", ["reporting_events", "ai_duo_chat_events", "ai_code_suggestion_events"])
def test_copy__dies_after_its_swap_and_the_source_goes_back__no_ghost_is_left(
    machine: type[Simulation], relation: str
) -> None:
    history = started(machine)
    history.put(relation, 1, 5, "first_response", 3.0, 1)
    table = relation.removeprefix("ai_")
    history.do(Look((_FOLLOWERS[relation],)), Fault("death", 2, containing=f"ALTER TABLE `{table}` REPLACE"))
    history.go_back()

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["ledger", "all"])
def test_postgres__goes_back_an_hour__stores_follow_the_source(machine: type[Simulation], what: str) -> None:
    history = started(machine)
    history.stores.keep(what, history.source)
    for relation in _FOLLOWERS:
        history.put(relation, 2, 5, "conversation_resolved", 60.0, 1)
    history.identity("key-a", "bob", "pro")
    settle(history)
    history.stores.restore(what, history.source)
    history.pipeline.damages += 1

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_segment__last_one_is_deleted__its_counts_go(machine: type[Simulation]) -> None:
    history = started(machine)
    history.segment(1, [], is_deleted=True)

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_account__loses_its_zone_and_gets_it_again__no_hole_is_left(machine: type[Simulation]) -> None:
    history = started(machine)
    history.set_zone(2, "America/New_York")
    settle(history)
    # Of the last seven days the schedule would find the hole.
    history.clock.forward(timedelta(days=12))
    settle(history)
    history.set_zone(1, None)
    settle(history)
    history.put("reporting_events", 14, 7, "first_response", 3.0, 2)
    settle(history)
    history.set_zone(1, "Asia/Kolkata")

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ai_usage__first_event_is_older_than_the_history__days_between_are_counted(machine: type[Simulation]) -> None:
    history = machine()
    history.begin(zone=None, ai=True, segments=False)
    settle(history)
    history.put("ai_duo_chat_events", 2, 5, "first_response", 3.0, 1)

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rollups__of_the_first_date_in_the_east__follow_their_events(machine: type[Simulation]) -> None:
    history = machine()
    history.begin(zone="Pacific/Apia", ai=False, segments=False, is_in_use=True)
    moment = datetime.combine(START, time(20), timezone.utc)
    (event,) = [row for row in truth.events(history.source.state) if truth.utc_day(row) == START]
    history.source.write("reporting_events", moved(event, moment, history.clock.now()))

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_segments__are_switched_off_for_the_only_organisation__current_counts_go(machine: type[Simulation]) -> None:
    history = machine()
    history.begin(zone=None, ai=False, segments=True, is_in_use=True)
    history.switch_membership(1, on=False)

    history.settle_and_audit()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ai_usage__row_before_the_first_day_commits_after_its_history_came_in__is_copied(
    machine: type[Simulation],
) -> None:
    history = machine()
    history.begin(zone=None, ai=True, segments=False)
    history.write_late(which=2, days=2, hour=12, name="conversation_bot_handoff", who=2)
    history.put("ai_code_suggestion_events", 1, 13, "conversation_bot_handoff", 0.5, 2)
    history.clock.forward(timedelta(hours=2))
    history.look_at_everything()

    history.settle_and_audit()
