"""What `make test-all` does of every test, and `make test` of a part only."""

import os
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from hypothesis import HealthCheck, settings

# As `make test-all` sets it.
THOROUGH = "THOROUGH" in os.environ


def rarely(*cases: Any) -> list[ParameterSet]:
    """Cases of a parametrised test that only `make test-all` tries: what they show, another one shows as well."""
    return [_marked(case) for case in cases]


def _marked(case: Any) -> ParameterSet:
    if isinstance(case, ParameterSet):
        return case._replace(marks=(*case.marks, pytest.mark.slow))
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)


def pytest_configure() -> None:
    """A property that says nothing of its own is tried a hundred times, or thirty."""
    settings.register_profile("quick", max_examples=100 if THOROUGH else 30)
    settings.load_profile("quick")


def on_engines(examples: int) -> settings:
    """How a property is tried whose every example takes the engines a while: so many times, or a fifth as often."""
    return settings(
        max_examples=examples if THOROUGH else -(-examples // 5),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
