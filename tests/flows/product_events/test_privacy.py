"""The privacy policy: what it leaves of a value, and that it leaves its own results alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.flows.product_events.errors import TooMuch
from analytics_pipeline.flows.product_events.privacy.policy import Privacy, privacy
from analytics_pipeline.flows.product_events.privacy.templates import endpoint, message

KEY = "0123456789abcdef"


def policy(**settings: Any) -> Privacy:
    return privacy(Settings(**settings))


def treated(kind: str, *, organisation: int = 1, key: str | None = KEY, **members: Any) -> dict[str, Any]:
    policy(event_privacy_key=key).treat(kind, organisation, members)
    return members


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("no user bob.b@example.com", "no user {email}"),
        ("task 550e8400-e29b-41d4-a716-446655440000 not found", "task {id} not found"),
        ("deadbeef01 is taken; a facade is not", "{id} is taken; a facade is not"),
        ("timeout after 30s at 10.0.0.7:5432", "timeout after {n}s at {n}.{n}.{n}.{n}:{n}"),
        ("invalid value 'Bob' for \"name\", don't", "invalid value {text} for {text}, don't"),
        ("GET https://a.example/x?token=S3CRET failed", "GET https://a.example/x{query} failed"),
        ("x" * 2_000, "x" * 500),
    ],
)
def test_message__with_values__is_a_template(text: str, template: str) -> None:
    assert message(text) == template


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("/tasks/123/log", "/tasks/{id}/log"),
        ("/v1/users/550e8400-e29b-41d4-a716-446655440000?email=a@b.io#x", "/v1/users/{id}"),
        ("https://user:pw@host/projects/abc123def4567", "/projects/{id}"),
        ("/users/bob@example.com", "/users/{id}"),
        ("/tasks/{task_id}/:id/<int:n>", "/tasks/{task_id}/:id/<int:n>"),
        ("/oauth2/callback/health/v2", "/oauth2/callback/health/v2"),
        ("", ""),
    ],
)
def test_endpoint__with_ids__is_a_template(text: str, template: str) -> None:
    assert endpoint(text) == template


@given(st.text())
def test_templates__of_templates__are_themselves(text: str) -> None:
    assert endpoint(endpoint(text)) == endpoint(text)
    # What is cut off may end a quotation or an address.
    short = message(text[:40])
    assert message(short) == short


def test_pseudonym__of_a_text__is_the_same_in_its_organisation_alone() -> None:
    one, again, other = (treated("auth_login_attempt", organisation=n, email="a@b.io")["email"] for n in (1, 1, 2))

    assert one == again != other
    assert (one[:5], len(one)) == ("hmac:", 37)
    assert treated("auth_login_attempt", email=one)["email"] == one
    assert treated("auth_login_attempt", key="x" * 16, email="a@b.io")["email"] != one


def test_policy__without_a_key__drops_what_would_become_a_pseudonym() -> None:
    assert treated("auth_login_attempt", key=None, email="a@b.io", success=True) == {"email": None, "success": True}


def test_policy__by_default__leaves_nothing_personal_of_known_members() -> None:
    assert treated("oauth_flow_started", provider="github" * 100, state="S3CRET") == {
        "provider": ("github" * 100)[:200],
        "state": None,
    }
    assert treated("task_created", command="rm -rf /home/bob")["command"].startswith("hmac:")


def test_properties__by_their_names__are_treated() -> None:
    properties = {
        "Email": "a@b.io",
        "api_key": "S3CRET",
        "nested": [{"userName": "bob", "password": {"x": 1}, "note": "from a@b.io"}],
        "url": "https://h/users/12?x=1",
        "error": "no task 17",
        "day": "2026-01-01",
        "n": 5,
    }

    found = treated("custom", name="x", properties=properties)["properties"]

    assert found.pop("Email").startswith("hmac:")
    assert found["nested"][0].pop("userName").startswith("hmac:")
    assert found == {
        "nested": [{"note": "from {email}"}],
        "url": "/users/{id}",
        "error": "no task {n}",
        "day": "2026-01-01",
        "n": 5,
    }


@pytest.mark.parametrize("value", [{str(n): n for n in range(1_001)}, json.loads("[" * 18 + "]" * 18)])
def test_properties__too_deep_or_too_many__are_refused(value: Any) -> None:
    with pytest.raises(TooMuch):
        treated("application_error", context=value)


def test_settings__change_the_action_of_a_member() -> None:
    members = {"command": "run task 12"}

    policy(event_privacy="task_created.command=template custom.name=drop").treat("task_created", 1, members)

    assert members == {"command": "run task {n}"}


def test_settings__member_that_no_type_has__is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"EVENT_PRIVACY: .* is no member"):
        policy(event_privacy="task_created.email=drop")
