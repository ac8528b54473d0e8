"""Values of DynamoDB and what they are in JSON: an integer outside Int64 becomes its decimal text."""

# The recursive struct below resolves on Python 3.10 only when its annotations are text as a whole.
from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from analytics_pipeline.flows.identities.errors import Unmappable

# DynamoDB's own limit; beyond it a short text could ask for gigabytes of digits.
_MAX_EXPONENT = 125
_INT64 = range(-(2**63), 2**63)
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


NULL = AttributeValue(NULL=True)


def plain(value: AttributeValue) -> Any:
    """The value as JSON carries it; numbers as their own digits.

    Raises:
        Unmappable: it holds binary data or a set, or a number that DynamoDB has not.
    """
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
    found = plain(value)
    return msgspec.Raw(found.encode()) if value.N is not None and isinstance(found, str) else found


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
    """The result of `number`, by way of Decimal, which takes several times as long.

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
