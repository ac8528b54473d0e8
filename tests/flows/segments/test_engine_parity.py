"""The engine's public test cases through the whole flow: DynamoDB, landing zone, ClickHouse, counts."""

import json
from typing import Any

import pytest
from flag_engine.segments.evaluator import get_enriched_context, is_context_in_segment

from analytics_pipeline.flows.segments.source import Segment
from tests.engine_cases import EngineCase, as_stored, data_directory, identity_document, inexpressible_cases, load_cases
from tests.product import PROJECT, Product

pytestmark = pytest.mark.skipif(not data_directory().is_dir(), reason="the engine's test data is not here")

_TEXT_CAST = "the engine casts the value to the trait's type, and int('2.1') is no number; SQL compares as numbers"
_NO_VERSION = "the trait is not a version, which the engine never matches; SQL reads the digits that it finds"
_PRE_RELEASE = "SQL ignores the pre-release part of a version"

# Segment (by the case that brings it) to why SQL answers otherwise for identities of *other* cases or of its own.
DIVERGENCES = {
    "test_less_than_float__should_match": _TEXT_CAST,
    "test_less_than_inclusive_float_equal__should_match": _TEXT_CAST,
    "test_not_equal_float_comparison__should_not_match": _TEXT_CAST,
    "test_semver_greater_than_prerelease__should_match": _PRE_RELEASE,
    "test_semver_less_than_inclusive_older__should_match": _NO_VERSION,
    "test_semver_less_than_inclusive_same__should_match": _NO_VERSION,
    "test_semver_less_than_newer_version__should_match": _NO_VERSION,
    "test_semver_not_equal_same_version__should_not_match": _NO_VERSION,
}


def test_counts__every_public_case__equal_the_engine(empty_product: Product) -> None:
    """Each case's identity lives in an environment of its own, so that each count is one verdict."""
    cases = load_cases(data_directory())
    assert inexpressible_cases(cases) == {}
    stored = {100 + number: as_stored(case, f"env-{number}") for number, case in enumerate(cases)}
    segments = _distinct_segments(cases)
    _fill(empty_product, cases, [segment for _, segment in segments])

    assert empty_product.materialise().success

    counts = empty_product.history()
    assert len(counts) == len(stored) * len(segments)
    diverging = set()
    for case, segment in segments:
        for environment, identity_case in stored.items():
            verdict = is_context_in_segment(get_enriched_context(identity_case.context), segment.context)
            if counts[(segment.id, environment)] != (int(verdict), "counted"):
                diverging.add(case)
    assert diverging == set(DIVERGENCES)


def _distinct_segments(cases: list[EngineCase]) -> list[tuple[str, Segment]]:
    """The first case that brings each different set of rules, and the segment with an id of our own."""
    found: dict[str, tuple[str, Any]] = {}
    for case in cases:
        for segment in case.segments:
            found.setdefault(json.dumps([segment["key"], segment["rules"]], sort_keys=True), (case.name, segment))
    return [
        (case, Segment(number, segment["name"], segment["rules"]))
        for number, (case, segment) in enumerate(found.values(), start=1)
    ]


def _fill(product: Product, cases: list[EngineCase], segments: list[Segment]) -> None:
    product.add_organisation()
    product.add_project()
    for number, case in enumerate(cases):
        product.add_environment(100 + number, PROJECT, f"env-{number}", case.environment_name)
    product.put(*(identity_document(case, f"env-{number}") for number, case in enumerate(cases)))
    for segment in segments:
        product.add_segment(segment.id, segment.rules)
