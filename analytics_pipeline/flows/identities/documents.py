"""Identity documents of DynamoDB and the rows that they become.

The mapping follows the product's own reading of a document: system traits overlay identity traits, of a repeated trait
key the last one wins, integers outside Int64 become their decimal text, a trait without a value is null.
"""

# The recursive struct below resolves on Python 3.10 only when its annotations are text as a whole.
from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import msgspec

from analytics_pipeline.flows.tenants import Environment

MAX_IDENTIFIER_LENGTH = 1024
# DynamoDB's own limit; beyond it a short text could ask for gigabytes of digits.
_MAX_EXPONENT = 125
_INT64 = range(-(2**63), 2**63)


class AttributeValue(msgspec.Struct, gc=False, omit_defaults=True):
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
    inserted_at: str


class RowMapper:
    """Maps the documents of one environment, captured as one version."""

    def __init__(self, environment: Environment, day: date, captured_at: datetime) -> None:
        self._environment = environment
        self._day = day.isoformat()
        self._last_identifier: str | None = None
        self._version = f"{captured_at:%Y-%m-%d %H:%M:%S}.{captured_at.microsecond // 1000:03d}"

    def row(self, document: Document) -> IdentityRow:
        """The document's row.

        Raises:
            Unmappable: it is not an identity of this environment, or holds what a row cannot.
        """
        if _text(document, "environment_api_key") != self._environment.key:
            raise Unmappable("environment_api_key is not the environment it was read for")
        identifier = _text(document, "identifier")
        if len(identifier) > MAX_IDENTIFIER_LENGTH:
            raise Unmappable(f"identifier is longer than {MAX_IDENTIFIER_LENGTH} characters")
        # The index lists identifiers in order, but does not promise that they are unique.
        if identifier == self._last_identifier:
            raise Unmappable("another document of the environment has the same identifier")
        row = IdentityRow(
            snapshot_date=self._day,
            project_id=self._environment.project_id,
            environment_id=self._environment.key,
            identifier=identifier,
            identity_key=_identity_key(document),
            traits=_traits(document),
            inserted_at=self._version,
        )
        self._last_identifier = identifier
        return row


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
        value = trait.M.get("trait_value")
        traits[key.S] = None if value is None else _plain(value)
    system = document.get("system_traits")
    if system is not None and system.M is not None:
        traits.update((key, _plain(value)) for key, value in system.M.items())
    return traits


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
        return _number(value.N)
    if value.BOOL is not None:
        return value.BOOL
    if value.M is not None:
        return {key: _plain(item) for key, item in value.M.items()}
    if value.L is not None:
        return [_plain(item) for item in value.L]
    if value.NULL:
        return None
    raise Unmappable("a trait holds binary data or a set")


def _number(digits: str) -> Any:
    """An int within Int64, the decimal text of an int beyond it, or a fraction with all its digits."""
    try:
        number = Decimal(digits)
    except InvalidOperation:
        raise Unmappable(f"{digits[:50]!r} is not a number") from None
    if not number.is_finite() or number.adjusted() > _MAX_EXPONENT:
        raise Unmappable(f"{digits[:50]} is not a finite number")
    if number != number.to_integral_value():
        return msgspec.Raw(str(number).encode())
    integer = int(number)
    return integer if integer in _INT64 else str(integer)
