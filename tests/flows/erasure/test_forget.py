"""Forgotten means gone from every store, for ever, and nothing else changed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import pytest

from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.erasure.forget import Erasure
from analytics_pipeline.flows.erasure.steps import Stores
from analytics_pipeline.flows.erasure.subjects import Subject
from tests.flows.erasure.bytes_left import places_with
from tests.flows.erasure.dying import Died, dying
from tests.flows.erasure.world import (
    ACCOUNT,
    EVENT_USER,
    GONE_KEY,
    IDENTIFIER,
    ORGANISATION,
    OTHER_EVENT_USER,
    PROJECT,
    USER,
    World,
    new_world,
)
from tests.product import KEY, Product
from tests.thorough import THOROUGH

# Who is forgotten, and the texts of which no byte may stay.
CASES: Mapping[str, tuple[Subject, tuple[str, ...]]] = {
    "identity": (subjects.identity(KEY, IDENTIFIER), (IDENTIFIER,)),
    "user": (subjects.user(str(USER)), (str(USER),)),
    "event user": (subjects.user(EVENT_USER.upper()), (EVENT_USER,)),
    "account": (subjects.numbered("account", str(ACCOUNT)), (str(ACCOUNT),)),
    "organisation": (
        subjects.numbered("organisation", str(ORGANISATION)),
        (str(ORGANISATION), str(PROJECT), GONE_KEY),
    ),
}
NAMES = tuple(name for _, names in CASES.values() for name in names)


@pytest.fixture
def world(product: Product) -> World:
    made = new_world(product)
    made.everything()
    return made


def erasure(product: Product, subject: Subject) -> Erasure:
    return Erasure(Stores(product.settings, product.postgres, product.clickhouse, product.landing, "forget"), subject)


def others(product: Product) -> dict[str, Any]:
    """All that is stored of those who are not forgotten, and the account's figures, of which one agent is."""
    questions = {
        "identities": "SELECT snapshot_date, identifier, traits FROM identities FINAL"
        f" WHERE environment_id = '{KEY}' AND identifier IN ('bob', 'carl')",
        "events": f"SELECT id, value, if(user_id = {USER}, NULL, user_id) FROM reporting_events WHERE account_id = 1",
        "rollups": "SELECT date, dimension_type, dimension_id, metric, count, sum_value FROM reporting_rollups FINAL"
        f" WHERE account_id = 1 AND NOT (dimension_type = 'agent' AND dimension_id = {USER})",
        "ai": "SELECT date, feature, event, namespace_path, occurrences FROM ai_usage_daily FINAL WHERE user_id = 5",
        "chat": "SELECT id, user_id FROM duo_chat_events FINAL WHERE user_id = 5",
        "exported": "SELECT event_log_id FROM exported_events FINAL WHERE user_id = 5",
        "product events": "SELECT event_id, event_type FROM analytics_events FINAL"
        f" WHERE organisation_id = 1 AND user_id = '{OTHER_EVENT_USER}'",
    }
    found = {name: sorted(map(str, product.clickhouse.query(question))) for name, question in questions.items()}
    return {
        **found,
        "tokens": product.execute("SELECT name FROM analytics_pipeline.api_tokens WHERE organisation_id = 1"),
        "epochs": product.execute("SELECT scope FROM analytics_pipeline.enablements WHERE scope = 'account:1'"),
        "coverage": product.execute("SELECT count(*) FROM analytics_pipeline.reporting_coverage WHERE account_id = 1"),
    }


def lost_days(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT relation, day FROM analytics_pipeline.held_days WHERE state <> 'held'")


def forget_all(product: Product, deaths: Sequence[int] = ()) -> None:
    """Forget every subject; the process dies at these calls, each time a little further, before it is let go on."""
    for number, (subject, _) in enumerate(CASES.values()):
        for call in deaths:
            with dying(call, after=bool((call + number) % 2)):
                try:
                    erasure(product, subject).run()
                except (Died, UnboundLocalError):  # what OpenFeature's client makes of it
                    continue
        erasure(product, subject).run()


def test_forget__of_everybody_at_once__leaves_no_byte_and_changes_no_other(world: World) -> None:
    before, product = others(world.product), world.product
    named = {case: places_with(product, *names) for case, (_, names) in CASES.items()}
    planned = {case: erasure(product, subject).plan() for case, (subject, _) in CASES.items()}

    dice = random.Random(7)  # noqa: S311 - a test
    forget_all(product, sorted(dice.sample(range(2, 60), 4 if THOROUGH else 1)))
    left, after, lost = places_with(product, *NAMES), others(product), lost_days(product)
    counts = product.history()
    (distinct,) = product.clickhouse.query(
        "SELECT uniqExactMerge(users), sum(active_users) FROM analytics_daily_active_users FINAL"
    )
    world.everything()
    again = places_with(product, *NAMES)

    assert {case: len(places) > 2 for case, places in named.items()} == dict.fromkeys(CASES, True)
    assert all(planned.values())
    assert (left, again) == (set(), set())
    assert after == before
    assert all(before.values())
    assert lost == []
    assert (counts, distinct) == ({(1, 100): (1, "counted")}, (1, 1))
    assert erasure(product, CASES["user"][0]).plan() == []


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_forget__then_everything_runs_in_any_order__no_byte_is_left(world: World, case: str) -> None:
    subject, names = CASES[case]
    planned = erasure(world.product, subject).plan()

    done = erasure(world.product, subject).run()

    assert done == planned
    assert places_with(world.product, *names) == set()
    assert erasure(world.product, subject).run() == done
    for order in _orders(world):
        for run in order:
            world.runs[run]()
        assert (order, places_with(world.product, *names)) == (order, set())


def _orders(world: World) -> Iterator[list[str]]:
    """All that runs, three times, each time in another order."""
    dice = random.Random(11)  # noqa: S311 - a test
    for _ in range(3):
        yield dice.sample(sorted(world.runs), len(world.runs))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_forget__killed_at_every_call__goes_on(world: World, case: str) -> None:
    subject, names = CASES[case]
    before = others(world.product)

    for call in count(1):
        try:
            with dying(call, after=bool(call % 2)):
                erasure(world.product, subject).run()
        except (Died, UnboundLocalError):  # what OpenFeature's client makes of it
            world.runs[sorted(world.runs)[call % len(world.runs)]]() if call % 5 == 0 else None
            continue
        break

    assert call > 20
    assert places_with(world.product, *names) == set()
    assert lost_days(world.product) == []
    assert before.keys() == others(world.product).keys()
