"""Identity documents of DynamoDB and the rows that they become.

The mapping follows the product's own reading of a document: system traits overlay identity traits, of a repeated trait
key the last one wins, integers outside Int64 become their decimal text, a trait without a value is null.

A list or a map becomes its JSON text, and the row names its key in `structured_traits`. ClickHouse's JSON would change
the types inside a list and store a map as traits whose keys hold dots.

Nearly all documents have the usual shape, which msgspec reads several times faster into structs of its own. One that
has another shape is read again as any document: what it becomes, or why it is refused, is decided there.
"""

# The recursive struct below resolves on Python 3.10 only when its annotations are text as a whole.
from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import msgspec

from analytics_pipeline.flows.tenants import Environment

MAX_IDENTIFIER_LENGTH = 1024
# DynamoDB's own limit; beyond it a short text could ask for gigabytes of digits.
_MAX_EXPONENT = 125
_INT64 = range(-(2**63), 2**63)
# The rows of a version before 2 hold lists and maps as ClickHouse's JSON does.
TRAITS_FORMAT = 2
# As many digits are within Int64 whatever they are.
_SHORT = 18
# Fractions of which Decimal makes the same text.
_PLAIN_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]{0,99})\.(?!000000)[0-9]*[1-9]")


class AttributeValue(msgspec.Struct, gc=False, omit_defaults=True, frozen=True):
    """One value in DynamoDB's wire format; exactly one field is set."""

    S: str | None = None
    N: str | None = None
    BOOL: bool | None = None
    NULL: bool | None = None
    M: dict[str, AttributeValue] | None = None
    L: list[AttributeValue] | None = None
    B: str | None = None
    SS: list[str] | None = None
    NS: list[str] | None = None
    BS: list[str] | None = None


Document: TypeAlias = dict[str, AttributeValue]

_NULL = AttributeValue(NULL=True)
_SCALARS = frozenset({str, int, bool, type(None), msgspec.Raw})


class _Text(msgspec.Struct, gc=False, frozen=True):
    S: str


class _Trait(msgspec.Struct, gc=False, frozen=True):
    trait_key: _Text
    trait_value: AttributeValue = _NULL


class _TraitEntry(msgspec.Struct, gc=False, frozen=True):
    M: _Trait


class _TraitList(msgspec.Struct, gc=False, frozen=True):
    L: list[_TraitEntry]


class _UsualDocument(msgspec.Struct, gc=False, frozen=True):
    """The usual shape of an identity. Attributes that a row does not need are not read."""

    composite_key: _Text
    environment_api_key: _Text
    identifier: _Text
    identity_traits: _TraitList
    system_traits: AttributeValue = _NULL
    django_id: AttributeValue = _NULL


_ANY_SHAPE = msgspec.json.Decoder(Document)
_USUAL_SHAPE = msgspec.json.Decoder(_UsualDocument)


def document_of(stored: msgspec.Raw) -> Document:
    """The whole document, whatever its shape."""
    return _ANY_SHAPE.decode(stored)


class Unmappable(ValueError):
    """The document cannot become a row; the text says why."""


class IdentityRow(msgspec.Struct, gc=False):
    """One line of a landing-zone file: the columns of `identities` that the capture decides."""

    snapshot_date: str
    project_id: int
    environment_id: str
    identifier: str
    identity_key: str
    traits: dict[str, Any]
    structured_traits: list[str]
    traits_format: int
    inserted_at: str


class RowMapper:
    """Maps the documents of one environment, captured as one version."""

    def __init__(self, environment: Environment, day: date, captured_at: datetime) -> None:
        self._environment = environment
        self._day = day.isoformat()
        self._last_identifier: str | None = None
        self._version = f"{captured_at:%Y-%m-%d %H:%M:%S}.{captured_at.microsecond // 1000:03d}"

    def read(self, stored: msgspec.Raw) -> IdentityRow:
        """The row of a document as it is stored, the same as that of `document_of(stored)`.

        Raises:
            Unmappable: as `row`.
        """
        try:
            return self._usual_row(_USUAL_SHAPE.decode(stored))
        except msgspec.ValidationError:
            return self.row(document_of(stored))

    def _usual_row(self, document: _UsualDocument) -> IdentityRow:
        self._check_environment(document.environment_api_key.S)
        identifier = document.identifier.S
        self._check_identifier(identifier)
        django_id = document.django_id.N
        traits = {entry.M.trait_key.S: _plain(entry.M.trait_value) for entry in document.identity_traits.L}
        _overlay(traits, document.system_traits)
        return self._row(identifier, document.composite_key.S if django_id is None else django_id, traits)

    def row(self, document: Document) -> IdentityRow:
        """The document's row.

        Raises:
            Unmappable: it is not an identity of this environment, or holds what a row cannot.
        """
        self._check_environment(_text(document, "environment_api_key"))
        identifier = _text(document, "identifier")
        self._check_identifier(identifier)
        return self._row(identifier, _identity_key(document), _traits(document))

    def _check_environment(self, key: str) -> None:
        if key != self._environment.key:
            raise Unmappable("environment_api_key is not the environment it was read for")

    def _check_identifier(self, identifier: str) -> None:
        if len(identifier) > MAX_IDENTIFIER_LENGTH:
            raise Unmappable(f"identifier is longer than {MAX_IDENTIFIER_LENGTH} characters")
        # The index lists identifiers in order, but does not promise that they are unique.
        if identifier == self._last_identifier:
            raise Unmappable("another document of the environment has the same identifier")

    def _row(self, identifier: str, identity_key: str, traits: dict[str, Any]) -> IdentityRow:
        self._last_identifier = identifier
        structured = [] if _SCALARS.issuperset(map(type, traits.values())) else _structured(traits)
        return IdentityRow(
            snapshot_date=self._day,
            project_id=self._environment.project_id,
            environment_id=self._environment.key,
            identifier=identifier,
            identity_key=identity_key,
            traits=traits,
            structured_traits=structured,
            traits_format=TRAITS_FORMAT,
            inserted_at=self._version,
        )


def _structured(traits: dict[str, Any]) -> list[str]:
    """Make lists and maps their JSON text; returns their keys."""
    structured = [key for key, value in traits.items() if type(value) not in _SCALARS]
    for key in structured:
        traits[key] = msgspec.json.encode(traits[key]).decode()
    return structured


def _text(document: Document, name: str) -> str:
    value = document.get(name)
    if value is None or value.S is None:
        raise Unmappable(f"{name} is not a text")
    return value.S


def _identity_key(document: Document) -> str:
    django_id = document.get("django_id")
    if django_id is not None and django_id.N is not None:
        return django_id.N
    return _text(document, "composite_key")


def _traits(document: Document) -> dict[str, Any]:
    traits: dict[str, Any] = {}
    for trait in _entries(document, "identity_traits"):
        if trait.M is None or (key := trait.M.get("trait_key")) is None or key.S is None:
            raise Unmappable("identity_traits holds an entry without a trait_key")
        traits[key.S] = _plain(trait.M.get("trait_value", _NULL))
    _overlay(traits, document.get("system_traits", _NULL))
    return traits


def _overlay(traits: dict[str, Any], system: AttributeValue) -> None:
    if system.M is not None:
        traits.update((key, _plain(value)) for key, value in system.M.items())


def _entries(document: Document, name: str) -> list[AttributeValue]:
    value = document.get(name)
    if value is None or value.NULL:
        return []
    if value.L is None:
        raise Unmappable(f"{name} is not a list")
    return value.L


def _plain(value: AttributeValue) -> Any:
    """The value as JSON carries it; numbers as their own digits."""
    if value.S is not None:
        return value.S
    if value.N is not None:
        return number(value.N)
    if value.BOOL is not None:
        return value.BOOL
    if value.M is not None:
        return {key: _inner(item) for key, item in value.M.items()}
    if value.L is not None:
        return [_inner(item) for item in value.L]
    if value.NULL:
        return None
    raise Unmappable("a trait holds binary data or a set")


def _inner(value: AttributeValue) -> Any:
    """The same inside a list or a map, where an int beyond Int64 stays a number: the engine prints it as one."""
    plain = _plain(value)
    return msgspec.Raw(plain.encode()) if value.N is not None and isinstance(plain, str) else plain


def number(digits: str) -> Any:
    """An int within Int64, the decimal text of an int beyond it, or a fraction with all its digits.

    Raises:
        Unmappable: DynamoDB has no such number.
    """
    if len(digits) <= _SHORT and digits.isdecimal():
        return int(digits)
    if _PLAIN_FRACTION.fullmatch(digits):
        return msgspec.Raw(digits.encode())
    return exact_number(digits)


def exact_number(digits: str) -> Any:
    """What `number` returns, by way of Decimal, which takes several times as long.

    Raises:
        Unmappable: DynamoDB has no such number.
    """
    try:
        decimal = Decimal(digits)
    except InvalidOperation:
        raise Unmappable(f"{digits[:50]!r} is not a number") from None
    if not decimal.is_finite() or decimal.adjusted() > _MAX_EXPONENT:
        raise Unmappable(f"{digits[:50]} is not a finite number")
    if decimal != decimal.to_integral_value():
        return msgspec.Raw(str(decimal).encode())
    integer = int(decimal)
    return integer if integer in _INT64 else str(integer)
