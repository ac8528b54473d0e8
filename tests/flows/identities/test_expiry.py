"""Old captures leave the landing zone, and an environment's newest stays however old it is."""

from datetime import date, datetime, timedelta, timezone

import pytest

from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters, units_with_dead_letters
from analytics_pipeline.flows.identities.kept import remove_expired
from analytics_pipeline.flows.identities.units import export_unit_of, unit_of
from tests.product import Product, document

TODAY = date(2026, 6, 30)
KEEP = 10


def _capture(product: Product, unit: str) -> str:
    with product.landing.writer(unit, fmt="identity-rows/2", captured_at=datetime.now(timezone.utc)) as writer:
        writer.write(b'{"identifier": "a"}\n', 1)
        writer.commit({})
    return unit


def _back(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_remove_expired__captures_of_many_days__keeps_recent_ones_and_each_environments_newest(
    empty_product: Product,
) -> None:
    export = [_capture(empty_product, export_unit_of(_back(days))) for days in (0, KEEP + 1, KEEP + 2)]
    busy = [_capture(empty_product, unit_of(_back(days), "busy")) for days in (0, KEEP, KEEP + 1, 400)]
    # Captured no more: the newest of its captures is the last that there will be. A capture that died is none.
    left = [_capture(empty_product, unit_of(_back(days), "left/%~behind")) for days in (KEEP + 1, KEEP + 2, 400)]
    dead = unit_of(_back(KEEP - 1), "left/%~behind")
    with empty_product.landing.writer(dead, fmt="identity-rows/2", captured_at=datetime.now(timezone.utc)) as writer:
        writer.write(b"{}\n", 1)
    kept = [export[0], *busy[:2], left[0]]
    gone = [*export[1:], *busy[2:], *left[1:]]
    for unit in kept + gone:
        replace_dead_letters(empty_product.postgres, "identities", unit, [DeadLetter("a", "odd", "{}")], "run")

    removed = remove_expired(empty_product.landing, empty_product.postgres, TODAY, KEEP)

    assert removed == len(gone)
    assert {unit for unit in kept + gone if empty_product.landing.manifest(unit)} == set(kept)
    assert [empty_product.landing.stored(unit) for unit in gone] == [[]] * len(gone)
    assert units_with_dead_letters(empty_product.postgres, "identities", kept + gone) == set(kept)
    assert remove_expired(empty_product.landing, empty_product.postgres, TODAY, KEEP) == 0


def test_remove_expired__nothing_was_ever_captured__does_nothing(empty_product: Product) -> None:
    assert remove_expired(empty_product.landing, empty_product.postgres, TODAY, KEEP) == 0


def test_remove_expired__day_is_being_loaded__is_left_to_the_next_time(empty_product: Product) -> None:
    for days in (0, KEEP + 1):
        _capture(empty_product, unit_of(_back(days), "busy"))

    with empty_product.postgres.lease(f"identities:{_back(KEEP + 1)}"):
        assert remove_expired(empty_product.landing, empty_product.postgres, TODAY, KEEP) == 0

    assert remove_expired(empty_product.landing, empty_product.postgres, TODAY, KEEP) == 1


def test_raw_identities__a_day_was_captured__old_captures_go_and_it_says_so(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDING_RETENTION_DAYS", "30")
    product.put(document("alice"))
    old = _capture(product, unit_of(date(2026, 1, 1), "env-key-100"))

    result = product.materialise("raw_identities")

    assert result.success
    (event,) = result.asset_materializations_for_node("raw_identities")
    assert event.metadata["captures_expired"].value == 1
    assert product.landing.manifest(old) is None
