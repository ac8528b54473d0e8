"""The demo product must hold every case that the flows have to get right, or the demo proves nothing."""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest
from flag_engine.context.types import EvaluationContext
from flag_engine.segments.evaluator import is_context_in_segment
from flag_engine.segments.types import ConditionOperator

from analytics_pipeline.demo.identities import Identity, TraitValue
from analytics_pipeline.demo.product import MEMBERSHIP_FLAG, Environment, Segment, demo_product

_PRINT_ITS_DIGEST = (
    "import hashlib; from analytics_pipeline.demo.product import demo_product; "
    "print(hashlib.sha256(repr(demo_product()).encode()).hexdigest())"
)


def _conditions(rules: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for rule in rules:
        yield from rule["conditions"]
        yield from _conditions(rule["rules"])


def _live_conditions() -> list[dict[str, Any]]:
    return [condition for segment in demo_product().live_segments for condition in _conditions(segment.rules)]


def _profile(identity: Identity) -> dict[str, TraitValue]:
    return (identity.traits or {}) | (identity.system_traits or {})


def _context(environment: Environment, identity: Identity) -> EvaluationContext:
    return {
        "environment": {"key": environment.api_key, "name": environment.name},
        "identity": {
            "identifier": identity.identifier,
            "key": identity.composite_key if identity.django_id is None else str(identity.django_id),
            "traits": _profile(identity),
        },
    }


@cache
def _contexts(project_id: int) -> list[EvaluationContext]:
    product = demo_product()
    environments = {row.api_key: row for row in product.environments if row.project_id == project_id}
    return [
        _context(environments[identity.environment_api_key], identity)
        for identity in product.identities
        if identity.environment_api_key in environments
    ]


def _members(segment: Segment) -> int:
    engine_segment: Any = {"key": str(segment.id), "name": segment.name, "rules": segment.rules}
    return sum(is_context_in_segment(context, engine_segment) for context in _contexts(segment.project_id))


def test_product__made_in_another_process__is_the_same() -> None:
    """A process of its own, because texts hash differently in each."""
    made = subprocess.run([sys.executable, "-c", _PRINT_ITS_DIGEST], check=True, capture_output=True, text=True)
    assert made.stdout.strip() == hashlib.sha256(repr(demo_product()).encode()).hexdigest()


def test_sizes__whole_product__span_empty_to_thousands() -> None:
    product = demo_product()
    sizes = Counter(identity.environment_api_key for identity in product.identities)
    assert {
        "organisations": len(product.organisations),
        "projects": len(product.projects),
        "environments": sorted(sizes[environment.api_key] for environment in product.environments),
        "identities": len(product.identities),
        "live segments": len(product.live_segments),
        "deleted segments": len(product.segments) - len(product.live_segments),
    } == {
        "organisations": 4,
        "projects": 8,
        "environments": [0, 1, 12, 15, 25, 30, 40, 75, 180, 200, 260, 350, 420, 520, 640, 2_300],
        "identities": 5_068,
        "live segments": 51,
        "deleted segments": 3,
    }


def test_identifiers__whole_product__are_unique() -> None:
    product = demo_product()
    django_ids = [identity.django_id for identity in product.identities if identity.django_id is not None]
    for values in (
        [environment.api_key for environment in product.environments],
        [identity.composite_key for identity in product.identities],
        [identity.identity_uuid for identity in product.identities],
        django_ids,
        [segment.name for segment in product.segments],
    ):
        assert values
        assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[2-9A-HJ-NP-Za-km-z]{22}", environment.api_key) for environment in product.environments)


def test_membership_flag__per_organisation__leaves_exactly_one_out() -> None:
    product = demo_product()
    enabled = {flag.scope: flag.enabled for flag in product.feature_flags if flag.name == MEMBERSHIP_FLAG}
    assert enabled == {"global": False, "organisation:1": True, "organisation:2": True, "organisation:3": True}
    owners = {project.id: project.organisation_id for project in product.projects}
    assert {owners[segment.project_id] for segment in product.live_segments} == {1, 2, 3, 4}


def test_projects__with_and_without_live_segments__both_exist() -> None:
    product = demo_product()
    live = {segment.project_id for segment in product.live_segments}
    assert [project.name for project in product.projects if project.id not in live] == ["Sandbox"]


def test_operators__live_segments__use_every_one_of_the_engine() -> None:
    assert {condition["operator"] for condition in _live_conditions()} == set(get_args(ConditionOperator))


def test_operands__live_segments__use_every_form() -> None:
    conditions = _live_conditions()
    lists = [condition["value"] for condition in conditions if condition["operator"] == "IN"]
    split = {condition["property"] for condition in conditions if condition["operator"] == "PERCENTAGE_SPLIT"}
    semver = {condition["operator"] for condition in conditions if str(condition["value"]).endswith(":semver")}
    assert {"list" if isinstance(value, list) else "json" if value[0] == "[" else "csv" for value in lists} == {
        "list",
        "json",
        "csv",
    }
    assert split == {"", "country", "$.identity.identifier", "$.identity.key"}
    assert semver == {
        "EQUAL",
        "NOT_EQUAL",
        "GREATER_THAN",
        "GREATER_THAN_INCLUSIVE",
        "LESS_THAN",
        "LESS_THAN_INCLUSIVE",
    }


def test_properties__live_segments__reach_beyond_plain_traits() -> None:
    used = {condition["property"] for condition in _live_conditions()}
    assert {"$.environment.name", "$.identity.identifier", "billing.cycle", "nick`name", "größe", "discount %"} < used
    assert {"favourite colour", "account_number", "cohort"} < used


def test_rules__live_segments__nest_any_and_none_inside_all() -> None:
    nested = {
        (outer["type"], inner["type"])
        for segment in demo_product().live_segments
        for outer in segment.rules
        for inner in outer["rules"]
    }
    assert {("ALL", "ANY"), ("ALL", "NONE"), ("ANY", "ALL")} <= nested


def test_traits__whole_product__have_every_kind_of_value() -> None:
    kinds: dict[str, set[str]] = {}
    for identity in demo_product().identities:
        for key, value in (identity.traits or {}).items():
            kinds.setdefault(key, set()).add(type(value).__name__)
    assert kinds == {
        "plan": {"str"},
        "country": {"str"},
        "company_size": {"int"},
        "mrr": {"int", "float"},
        "account_number": {"int"},
        "cancelled_at": {"str", "NoneType"},
        "signup_date": {"str"},
        "email": {"str"},
        "beta": {"bool"},
        "platform": {"str"},
        "app_version": {"str"},
        "sessions": {"int"},
        "last_seen": {"str"},
        "tags": {"str"},
        "favourite colour": {"str"},
        "billing.cycle": {"str"},
        "nick`name": {"str"},
        "größe": {"int"},
        "discount %": {"int"},
        "feedback": {"str"},
    }


@pytest.mark.parametrize(
    ("trait", "pattern"),
    [
        ("account_number", r"\d{20,24}"),
        ("signup_date", r"\d{4}-\d\d-\d\d"),
        ("last_seen", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("app_version", r"\d+\.\d+\.\d+"),
        ("email", r".+@.+\.(com|org|example)"),
    ],
)
def test_trait__every_value__has_its_form(trait: str, pattern: str) -> None:
    profiles = map(_profile, demo_product().identities)
    values = [profile[trait] for profile in profiles if trait in profile]
    assert len(values) > 500
    assert [value for value in values if not re.fullmatch(pattern, str(value))] == []


@pytest.mark.parametrize("needle", ["+", "'", '"', "ł", "山", "_"])
def test_email__awkward_character__appears(needle: str) -> None:
    assert [identity for identity in demo_product().identities if needle in str((identity.traits or {}).get("email"))]


def test_floats__whole_product__are_never_integral() -> None:
    """DynamoDB would return 49.0 as 49, and the engine compares the two differently."""
    floats = [value for row in demo_product().identities for value in _profile(row).values() if type(value) is float]
    assert floats
    assert not any(value.is_integer() for value in floats)


def test_identities__whole_product__include_the_rare_kinds() -> None:
    identities = demo_product().identities
    rare = {
        "no profile": sum(identity.traits is None for identity in identities),
        "empty profile": sum(identity.traits == {} for identity in identities),
        "system traits": sum(identity.system_traits is not None for identity in identities),
        "system traits alone": sum(bool(identity.system_traits) and not identity.traits for identity in identities),
        "django id": sum(identity.django_id is not None for identity in identities),
        "alias": sum(identity.dashboard_alias is not None for identity in identities),
    }
    assert {name: count for name, count in rare.items() if not 0 < count < len(identities) / 5} == {}


def test_live_segments__evaluated_by_the_engine__select_some_and_leave_others() -> None:
    trivial = {
        segment.name: members
        for segment in demo_product().live_segments
        if (members := _members(segment)) in (0, len(_contexts(segment.project_id)))
    }
    assert trivial == {"Everybody": 532, "Gift card winners": 0}


def test_deleted_segments__evaluated_by_the_engine__would_have_counted() -> None:
    """Otherwise counting one by mistake would not show."""
    deleted = [segment for segment in demo_product().segments if segment.deleted_at is not None]
    assert all(_members(segment) > 0 for segment in deleted)
