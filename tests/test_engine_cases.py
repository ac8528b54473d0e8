from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from tests.engine_cases import (
    CaseIdentity,
    EngineCase,
    InexpressibleCaseError,
    as_stored,
    changed_by_storage,
    data_directory,
    engine_verdicts,
    identity_document,
    inexpressible_cases,
    load_cases,
    parse_commented_json,
)

_NO_IDENTITY = "it has no identity, and the table holds nothing else"


@pytest.fixture(scope="module")
def cases() -> list[EngineCase]:
    directory = data_directory()
    if not directory.is_dir():
        pytest.skip(f"no engine test data in {directory}; ANALYTICS_TEST_DATA names another place")
    return load_cases(directory)


def _made_up(identity: CaseIdentity | None) -> EngineCase:
    segment: Any = {
        "key": "9",
        "name": "third",
        "rules": [{"type": "ALL", "conditions": [{"operator": "MODULO", "property": "seats", "value": "3|0"}]}],
    }
    context: Any = {"environment": {"key": "env", "name": "Production"}, "segments": {"9": segment}}
    if identity:
        context["identity"] = {"identifier": identity.identifier, "key": identity.key, "traits": identity.traits}
    return EngineCase("made up", "env", "Production", identity, (segment,), frozenset({"9"}), context)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ('// first\n{"a": 1} // last', {"a": 1}),
        ('{"url": "https://example.com//x", "b": 2}', {"url": "https://example.com//x", "b": 2}),
        ('{"quote": "a \\" // b", /* block\n// inner */ "c": "/* kept */"}', {"quote": 'a " // b', "c": "/* kept */"}),
        ('{"slash": "\\\\"} // "', {"slash": "\\"}),
    ],
)
def test_parse__comments_and_strings__drops_comments_alone(text: str, parsed: object) -> None:
    assert parse_commented_json(text) == parsed


def test_load_cases__every_file__becomes_a_case(cases: list[EngineCase]) -> None:
    stems = {path.name.rsplit(".", 1)[0] for path in data_directory().glob("*.json*")}
    assert {case.name for case in cases} == stems
    assert len(cases) >= 97
    assert sum(len(case.segments) for case in cases) >= 305


def test_engine_verdicts__every_case__agree_with_its_result(cases: list[EngineCase]) -> None:
    members = {case.name: {key for key, verdict in engine_verdicts(case).items() if verdict} for case in cases}
    assert members == {case.name: set(case.expected) for case in cases}
    assert any(members.values())
    assert not all(members.values())


def test_expected__every_case__names_each_segment_once(cases: list[EngineCase]) -> None:
    """A result names segments, so two of one name could not be told apart."""
    ambiguous = [case.name for case in cases if len({row["name"] for row in case.segments}) < len(case.segments)]
    assert ambiguous == []


def test_identity_document__every_case__is_expressible_unless_it_has_no_identity(cases: list[EngineCase]) -> None:
    assert inexpressible_cases(cases) == {case.name: _NO_IDENTITY for case in cases if case.identity is None}


def test_identity_document__every_case__gives_back_its_key_and_traits(cases: list[EngineCase]) -> None:
    serialize, deserialize = TypeSerializer().serialize, TypeDeserializer().deserialize
    read = {}
    for case in cases:
        if case.identity:
            document = deserialize(serialize(identity_document(case, case.environment_key)))
            django_id = document["django_id"]
            traits = {trait["trait_key"]: trait["trait_value"] for trait in document["identity_traits"]}
            read[case.name] = (document["composite_key"] if django_id is None else str(django_id), traits)
    assert len(read) >= 97
    assert read == {
        case.name: (
            case.identity.key or f"{case.environment_key}_{case.identity.identifier}",
            {
                key: Decimal(repr(value)) if type(value) is float else value
                for key, value in case.identity.traits.items()
            },
        )
        for case in cases
        if case.identity
    }


@pytest.mark.parametrize(
    ("key", "django_id"),
    [(None, None), ("env_kim", None), ("42", 42), ("0", 0), ("99999999999999999999", 99999999999999999999)],
)
def test_identity_document__key_of_the_engine__is_the_number_or_the_composite_key(
    key: str | None, django_id: int | None
) -> None:
    case = _made_up(CaseIdentity("kim", key, {"seats": 6, "rate": 0.1, "beta": True, "gone": None}))
    assert identity_document(case, "elsewhere") == {
        "composite_key": "elsewhere_kim",
        "environment_api_key": "elsewhere",
        "identifier": "kim",
        "identity_uuid": "00000000-0000-4000-8000-000000000000",
        "created_date": "2026-01-01T00:00:00+00:00",
        "identity_features": [],
        "identity_traits": [
            {"trait_key": "seats", "trait_value": 6},
            {"trait_key": "rate", "trait_value": Decimal("0.1")},
            {"trait_key": "beta", "trait_value": True},
            {"trait_key": "gone", "trait_value": None},
        ],
        "system_traits": None,
        "django_id": django_id,
        "dashboard_alias": None,
    }


@pytest.mark.parametrize("key", ["042", "-", "4.2", "other_kim", "٤٢"])
def test_identity_document__key_that_nothing_stores__is_listed_with_the_reason(key: str) -> None:
    case = _made_up(CaseIdentity("kim", key, {}))
    assert inexpressible_cases([case]) == {"made up": f"its key {key!r} is neither an integer nor its composite key"}


def test_identity_document__case_without_identity__is_refused() -> None:
    case = _made_up(None)
    assert inexpressible_cases([case]) == {"made up": _NO_IDENTITY}
    with pytest.raises(InexpressibleCaseError, match="no identity"):
        identity_document(case, "env")


@pytest.mark.parametrize(("key", "stored_key"), [(None, "elsewhere_kim"), ("env_kim", "elsewhere_kim"), ("42", "42")])
def test_as_stored__another_environment__derives_the_key_and_merges_numbers(key: str | None, stored_key: str) -> None:
    stored = as_stored(_made_up(CaseIdentity("kim", key, {"seats": 6.0, "rate": 0.5})), "elsewhere")
    assert stored.identity == CaseIdentity("kim", stored_key, {"seats": 6, "rate": 0.5})
    assert stored.context == {
        "environment": {"key": "elsewhere", "name": "Production"},
        "identity": {"identifier": "kim", "key": stored_key, "traits": {"seats": 6, "rate": 0.5}},
    }
    assert type((stored.identity.traits if stored.identity else {})["seats"]) is int


def test_changed_by_storage__every_case__is_down_to_whole_floats(cases: list[EngineCase]) -> None:
    """DynamoDB reads 2.0 back as 2, and the engine refuses to compare an integer with the text of a float."""
    changes = {case.name: changed_by_storage(case, case.environment_key) for case in cases if case.identity}
    changed = {name: verdicts for name, verdicts in changes.items() if verdicts}
    assert changed["test_less_than_float__should_match"] == {"1": False}
    whole = {
        case.name
        for case in cases
        if case.identity and any(type(value) is float and value.is_integer() for value in case.identity.traits.values())
    }
    assert set(changed) <= whole
