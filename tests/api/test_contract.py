"""The OpenAPI document is kept: whatever a client makes of it is answered as it says, never with a failure of ours."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_QUICK, _THOROUGH = 40, 2_000


def _tried(asked: TestClient, examples: int) -> None:
    # Imported for these tests alone: it takes a process two seconds.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    schema = schemathesis.openapi.from_asgi("/openapi.json", asked.app)
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    assert len(operations) > 20

    @settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=st.sampled_from(operations).flatmap(lambda one: one.as_strategy()))
    def tried(case: Any) -> None:
        answer = case.call(session=None, headers={"Authorization": "Bearer all"})
        case.validate_response(answer, checks=wanted)

    tried()


def test_document__whatever_is_made_of_it__is_answered_as_it_says(asked: TestClient) -> None:
    _tried(asked, _QUICK)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_document__very_many_things_made_of_it__are_answered_as_it_says(asked: TestClient) -> None:
    _tried(asked, _THOROUGH)
