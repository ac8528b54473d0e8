"""The engine's public test cases through the whole flow: DynamoDB, landing zone, ClickHouse, counts."""

import json
from typing import Any

import pytest
from flag_engine.segments.evaluator import get_enriched_context, is_context_in_segment

from analytics_pipeline.flows.segments.source import Segment
from tests.engine_cases import EngineCase, as_stored, data_directory, identity_document, inexpressible_cases, load_cases
from tests.product import PROJECT, Product

pytestmark = pytest.mark.skipif(not data_directory().is_dir(), reason="the engine's test data is not here")

# Segment (by the case that brings it) to why the engine itself has to count it.
_PRE_RELEASE = "it compares with 1.0.0-beta, whose pre-releases SQL cannot order"
FALLBACKS = {"test_semver_greater_than_prerelease__should_match": _PRE_RELEASE}


def test_counts__every_public_case__equal_the_engine(empty_product: Product) -> None:
    """Each case's identity lives in an environment of its own, so that each count is one verdict."""
    cases = load_cases(data_directory())
    assert inexpressible_cases(cases) == {}
    stored = {100 + number: as_stored(case, f"env-{number}") for number, case in enumerate(cases)}
    segments = _distinct_segments(cases)
    _fill(empty_product, cases, [segment for _, segment in segments])

    assert empty_product.materialise().success

    counts = {pair: count for pair, (count, _) in empty_product.history().items()}
    assert counts == {
        (segment.id, environment): int(is_context_in_segment(get_enriched_context(case.context), segment.context))
        for _, segment in segments
        for environment, case in stored.items()
    }
    assert _fallbacks(empty_product, segments) == FALLBACKS


def _fallbacks(product: Product, segments: list[tuple[str, Segment]]) -> dict[str, str]:
    names = {segment.id: case for case, segment in segments}
    rows = product.clickhouse.query(
        "SELECT DISTINCT segment_id, status, reason FROM segment_counts FINAL WHERE status != 'counted'"
    )
    assert {status for _, status, _ in rows} <= {"fallback"}
    return {names[segment]: reason for segment, _, reason in rows}


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
