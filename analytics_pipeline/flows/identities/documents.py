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

from datetime import date, datetime
from typing import Any, TypeAlias

import msgspec

from analytics_pipeline.flows.identities.attributes import NULL, AttributeValue, plain
from analytics_pipeline.flows.identities.errors import Unmappable
from analytics_pipeline.flows.tenants import Environment

MAX_IDENTIFIER_LENGTH = 1024
# The rows of a version before 2 hold lists and maps as ClickHouse's JSON does.
TRAITS_FORMAT = 2


Document: TypeAlias = dict[str, AttributeValue]

_SCALARS = frozenset({str, int, bool, type(None), msgspec.Raw})


class _Text(msgspec.Struct, gc=False, frozen=True):
    S: str


class _Trait(msgspec.Struct, gc=False, frozen=True):
    trait_key: _Text
    trait_value: AttributeValue = NULL


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
    system_traits: AttributeValue = NULL
    django_id: AttributeValue = NULL


_ANY_SHAPE = msgspec.json.Decoder(Document)
_USUAL_SHAPE = msgspec.json.Decoder(_UsualDocument)


def document_of(stored: msgspec.Raw) -> Document:
    """The whole document, of any shape."""
    return _ANY_SHAPE.decode(stored)


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
        traits: dict[str, Any] = {}
        for entry in document.identity_traits.L:
            value = entry.M.trait_value
            # Most are texts: to call for each of them takes a tenth of the mapping.
            traits[entry.M.trait_key.S] = plain(value) if value.S is None else value.S
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
        traits[key.S] = plain(trait.M.get("trait_value", NULL))
    _overlay(traits, document.get("system_traits", NULL))
    return traits


def _overlay(traits: dict[str, Any], system: AttributeValue) -> None:
    if system.M is not None:
        traits.update((key, plain(value)) for key, value in system.M.items())


def _entries(document: Document, name: str) -> list[AttributeValue]:
    value = document.get(name)
    if value is None or value.NULL:
        return []
    if value.L is None:
        raise Unmappable(f"{name} is not a list")
    return value.L
