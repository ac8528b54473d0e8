"""Cases in which flagsmith-sql-flag-engine 0.2.0 was found to answer otherwise than the engine, each by its name."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from analytics_pipeline.flows.segments.source import Segment
from tests.databases import Databases
from tests.flows.segments.differential import Person, count, load, verdicts
from tests.product import Product, condition, shared_product

_MEMBER, _STRANGER = True, False
_TRUE = True


def _case(name: str, operator: str, value: Any, trait: Any, verdict: bool, status: str = "counted") -> Any:
    return pytest.param(operator, value, {"k": trait}, verdict, status, id=name)


_CASES = [
    _case("text_that_looks_like_a_time", "EQUAL", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z", _MEMBER),
    _case("text_that_looks_like_a_short_date", "NOT_EQUAL", "2024-01-01", "2024-1-1", _MEMBER),
    _case("int_contains_no_text", "CONTAINS", "4", 42, _STRANGER),
    _case("int_lacks_no_text", "NOT_CONTAINS", "9", 42, _STRANGER),
    _case("texts_have_an_order", "GREATER_THAN", "a", "b", _MEMBER),
    _case("int_is_not_compared_with_a_fraction", "GREATER_THAN", "1.5", 2, _STRANGER),
    _case("number_as_text_is_a_number", "NOT_EQUAL", "10.0", "10", _STRANGER),
    _case("fraction_modulo", "MODULO", "2|0.5", Decimal("4.5"), _MEMBER, "fallback"),
    _case("number_as_text_in_itself", "IN", "042", "042", _STRANGER),
    _case("padded_number_in_the_number", "IN", "42", "042", _MEMBER),
    _case("fraction_as_text_in_itself", "IN", "1.5", "1.5", _STRANGER),
    _case("bools_have_an_order", "GREATER_THAN", "false", _TRUE, _MEMBER),
    _case("true_equals_any_text", "EQUAL", "growth", _TRUE, _MEMBER),
    _case("no_version", "GREATER_THAN", "1.1.0:semver", "1.2", _STRANGER),
    _case("pre_release_before_its_release", "LESS_THAN", "1.0.0:semver", "1.0.0-rc.1", _MEMBER),
    _case("pre_releases_of_one_release", "GREATER_THAN", "1.0.0-alpha:semver", "1.0.0-beta", _MEMBER, "fallback"),
    _case("dot_and_newline", "REGEX", "a.b", "a\nb", _STRANGER),
    _case("end_before_a_last_newline", "REGEX", "a$", "a\n", _MEMBER),
    _case("word_characters_beyond_ascii", "REGEX", r"\w", "é", _MEMBER),
    _case("end_of_text", "REGEX", r"a\Z", "a", _MEMBER),
    _case("possessive", "REGEX", "a++", "aa", _MEMBER, "fallback"),
    _case("atomic", "REGEX", "(?>a)", "a", _MEMBER, "fallback"),
    _case("many_repetitions", "REGEX", "a{1001}", "a", _STRANGER, "fallback"),
    _case("bool_is_printed_by_python", "REGEX", "True", _TRUE, _MEMBER),
    _case("int_beyond_64_bits", "EQUAL", "18446744073709551616", 2**64, _MEMBER, "fallback"),
    _case("int_beyond_64_bits_is_large", "GREATER_THAN", "5", 2**64, _MEMBER),
    _case("whole_fraction_is_printed_with_a_point", "REGEX", r"1\.0", Decimal("0.99999999999999999999999"), _MEMBER),
    _case("percent_sign", "EQUAL", "100%", "100%", _MEMBER),
    _case("list_prints_as_in_python", "CONTAINS", "['a', 'b']", ["a", "b"], _MEMBER, "fallback"),
]


@pytest.mark.parametrize(("operator", "value", "traits", "verdict", "status"), _CASES)
def test_segment__known_divergence__counts_as_the_engine_decides(
    operator: str, value: Any, traits: dict[str, Any], verdict: bool, status: str, counted: "Counted"
) -> None:
    assert counted(traits, operator, "k", value) == (verdict, status)


@pytest.mark.parametrize(
    ("name", "traits", "verdict", "status"),
    [
        ("", {"": "x"}, True, "fallback"),
        ("a.b", {"a.b": "x", "a": "y"}, True, "counted"),
        ("100%", {"100%": "x"}, True, "counted"),
        ("$.environment.name", {"$.environment.name": "x"}, True, "fallback"),
        ("$.environment.name", {}, False, "counted"),
        ("$.identity", {"$.identity": "x"}, True, "fallback"),
        ("$.identity.traits.k", {"k": "x"}, True, "counted"),
        ("$.no path", {"$.no path": "x"}, True, "counted"),
    ],
)
def test_segment__odd_property__finds_what_the_engine_finds(
    name: str, traits: dict[str, Any], verdict: bool, status: str, counted: "Counted"
) -> None:
    assert counted(traits, "EQUAL", name, "x") == (verdict, status)


def test_segment__identifier_in_a_json_list__is_read_as_a_list(counted: "Counted") -> None:
    assert counted({}, "IN", "$.identity.identifier", '["a", "person"]') == (True, "counted")


@pytest.mark.parametrize("kind", ["NONE", "ALL", "ANY"])
def test_segment__condition_on_an_absent_trait__is_false_and_not_null(kind: str, counted: "Counted") -> None:
    assert counted({}, "EQUAL", "k", "x", kind=kind) == (kind == "NONE", "counted")


@pytest.mark.parametrize(("text", "percent"), [(8931, 45.779), (14_927_794, 26.515)], ids=["second", "third"])
def test_split__identity_is_hashed_again__counts_as_the_engine_decides(
    text: int, percent: float, counted: "Counted"
) -> None:
    just_out, just_in = percent - 0.001, percent + 0.001

    assert counted({"k": text}, "PERCENTAGE_SPLIT", "k", just_out) == (False, "counted")
    assert counted({"k": text}, "PERCENTAGE_SPLIT", "k", just_in) == (True, "counted")


class Counted:
    """Loads one identity, counts one segment and makes sure that the engine says the same."""

    def __init__(self, product: Product) -> None:
        self._clickhouse = product.clickhouse

    def __call__(
        self, traits: dict[str, Any], operator: str, name: str, value: Any, kind: str = "ALL"
    ) -> tuple[bool, str]:
        people = [Person("person", traits)]
        (rule,) = condition(operator, name, value)
        segment = Segment(1, "segment", [{**rule, "type": kind}])
        load(self._clickhouse, people)
        (answer,) = count(self._clickhouse, people, [segment])[1]
        assert [bool(answer.count)] == verdicts(people, segment)
        return bool(answer.count), answer.status


@pytest.fixture(scope="module")
def counted(
    stack_environment: Mapping[str, str], stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Counted]:
    """Each load takes the place of the one before it, so all tests can have the same product."""
    with shared_product(stack_environment, stores, tmp_path_factory.mktemp("landing")) as product:
        yield Counted(product)
