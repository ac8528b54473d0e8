"""Names of time zones: today's data decide which of them are one zone, also of those that a ledger holds."""

import pytest

from analytics_pipeline.flows.reporting.zones import canonical, canonical_of_stored, names_of


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Europe/Amsterdam", "Europe/Brussels"),
        ("Europe/Kiev", "Europe/Kyiv"),
        ("Europe/Kyiv", "Europe/Kyiv"),
        ("Kyiv", "Europe/Kyiv"),
        ("Europe/Stockholm", "Europe/Berlin"),
    ],
)
def test_canonical__of_a_link__is_the_zone_itself(name: str, zone: str) -> None:
    assert canonical(name) == canonical_of_stored(name) == zone
    assert canonical(zone) == zone


def test_canonical_of_stored__name_that_is_gone__is_itself() -> None:
    assert canonical_of_stored("Europe/Atlantis") == "Europe/Atlantis"
    assert names_of("Europe/Atlantis") == ("Europe/Atlantis",)


def test_names_of__a_zone__are_those_that_mean_it_today() -> None:
    names = names_of("Europe/Kyiv")

    assert names == names_of("Europe/Kiev")
    assert {"Europe/Kiev", "Europe/Kyiv"} <= {*names}
    assert {canonical(name) for name in names} == {"Europe/Kyiv"}
