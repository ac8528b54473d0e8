"""`analytics-pipeline doctor` on ingestion: who may send events, and what the privacy policy leaves of them."""

from datetime import timedelta

import pytest

from analytics_pipeline.api import tokens
from tests.cli.commands import run
from tests.cli.test_doctor import findings_of
from tests.product import Product
from tests.thorough import rarely

pytestmark = pytest.mark.usefixtures("elsewhere")


def _found() -> dict[str, list[str]]:
    return findings_of(run("doctor", "--json", "--timeout", "60"))


def test_doctor__tokens_that_expire__are_warnings_with_what_to_do(product: Product) -> None:
    for name, lifetime in (("old", -1), ("near", 6), ("far", 8)):
        tokens.create(product.postgres, name, "ingest", organisation_id=7, lifetime=timedelta(days=lifetime))
    tokens.create(product.postgres, "reader", "read", lifetime=timedelta(days=-1))
    tokens.create(product.postgres, "gone", "ingest", organisation_id=8, lifetime=timedelta(days=-1))
    tokens.revoke(product.postgres, "gone")

    found = _found()

    told = {one: found[one][0].partition(" at ")[0] for one in found if one.startswith("token ")}
    assert told == {"token old": "expired", "token near": "expires"}
    assert found["token old"][2] == "give its service another one, then: analytics-pipeline token revoke old"
    assert found["ingestion"] == ["tokens may send events of organisation 7", "", ""]


def test_doctor__no_token_is_valid__says_that_nobody_can_send(product: Product) -> None:
    tokens.create(product.postgres, "old", "ingest", organisation_id=7, lifetime=timedelta(days=-1))

    result = run("doctor", "--json", "--timeout", "60")

    state, stopped, repair = findings_of(result)["ingestion"]
    assert (state, stopped) == ("no token may send events: whoever sends some is refused", "")
    assert repair == "analytics-pipeline token create NAME --scope ingest --organisation ID"


def test_doctor__flow_is_not_wanted__says_nothing_of_ingestion(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWS", "reporting")

    assert "ingestion" not in _found()


@pytest.mark.parametrize("privacy", ["auth_login_attempt.email=drop", *rarely("")])
def test_doctor__no_key_for_pseudonyms__warns_of_the_members_that_are_not_stored(
    privacy: str, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENT_PRIVACY", privacy)
    tokens.create(product.postgres, "web", "ingest", organisation_id=1)

    without = _found()["EVENT_PRIVACY_KEY"]
    monkeypatch.setenv("EVENT_PRIVACY_KEY", "k" * 32)

    members = ["cocoon_name", "command", "device_name", *([] if privacy else ["email"])]
    assert without[0] == f"is not set, so nothing is stored of {', '.join(members)}"
    assert "EVENT_PRIVACY_KEY" not in _found()


def test_doctor__privacy_policy_of_a_member_that_no_event_has__is_a_gap_of_product_events(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENT_PRIVACY", "task_created.email=drop")

    assert _found()["EVENT_PRIVACY"] == [
        "task_created.email is no member of an event (sdk/EVENTS.md)",
        "product_events",
        "correct it: sdk/EVENTS.md has the members",
    ]
