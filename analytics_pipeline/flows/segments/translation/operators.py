"""EQUAL, NOT_EQUAL and the orderings, IN, MODULO and PERCENTAGE_SPLIT in SQL, type by type as the engine decides.

The algorithms are those of `flag_engine.segments.evaluator` and `flag_engine.utils.hashing` 11.1: the value of the
condition is cast to the type of the identity's value, and what cannot be cast does not match.
"""

import json
import math
import operator as python
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from analytics_pipeline.flows.segments.errors import Inexact
from analytics_pipeline.flows.segments.translation import versions
from analytics_pipeline.flows.segments.translation.subjects import Guard, Subject, float_literal

SYMBOLS: Final[dict[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "EQUAL": ("=", python.eq),
    "NOT_EQUAL": ("!=", python.ne),
    "GREATER_THAN": (">", python.gt),
    "GREATER_THAN_INCLUSIVE": (">=", python.ge),
    "LESS_THAN": ("<", python.lt),
    "LESS_THAN_INCLUSIVE": ("<=", python.le),
}
VERSION_SUFFIX = ":semver"
_NUMERIC = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_LARGEST = 2**63 - 1
_MOST_DIGITS = 18
_EXACT_IN_FLOAT = 2**53
_DIVIDED_IN_SQL = 2**62
_FULL = 9998  # the bucket that would be 100 percent


def any_of(pieces: Iterator[str] | list[str]) -> str:
    """The disjunction of pieces that are never null."""
    return " OR ".join(f"({piece})" for piece in pieces) or "false"


def compare(subject: Subject, name: str, value: str, bound: Callable[[str], str]) -> str:
    """The six comparisons; `bound` makes a placeholder of a text."""
    return any_of(_comparisons(subject, name, value, bound))


def _comparisons(subject: Subject, name: str, value: str, bound: Callable[[str], str]) -> Iterator[str]:
    symbol, function = SYMBOLS[name]
    yield from _compare_text(subject, name, value, bound)
    as_boolean = value not in ("False", "false")
    yield from _booleans(subject, lambda truth: function(truth, as_boolean))
    if (integer := _integer(value)) is not None:
        # A text beyond 64 bits is beyond every number that it is compared with.
        beyond = f"if(startsWith({subject.text}, '-'), toInt64(-{_LARGEST}), toInt64({_LARGEST}))"
        yield f"{subject.whole} AND ifNull(toInt64OrNull({subject.text}), {beyond}) {symbol} {integer}"
        if int64 := subject.typed("Int64"):
            yield f"ifNull({int64} {symbol} {integer}, false)"
    if (fraction := _float(value)) is not None:
        literal = float_literal(fraction)
        yield f"{subject.fraction} AND ifNull(toFloat64OrNull({subject.text}) {symbol} {literal}, false)"
        if float64 := subject.typed("Float64"):
            yield f"ifNull({float64} {symbol} {literal}, false)"


def _booleans(subject: Subject, matches: Callable[[bool], bool]) -> Iterator[str]:
    if boolean := subject.typed("Bool"):
        yield from (f"ifNull({boolean} = {str(truth).lower()}, false)" for truth in (True, False) if matches(truth))


def _compare_text(subject: Subject, name: str, value: str, bound: Callable[[str], str]) -> Iterator[str]:
    symbol, _ = SYMBOLS[name]
    if value.endswith(VERSION_SUFFIX):
        if (compared := versions.compare(subject, symbol, value.removesuffix(VERSION_SUFFIX))) is not None:
            yield compared
    elif name != "EQUAL":
        yield f"{subject.words} AND {subject.text} {symbol} {bound(value)}"
    elif not _NUMERIC.fullmatch(value):
        yield f"{subject.text} = {bound(value)}" + ("" if value else f" AND {subject.is_text}")


def _integer(value: str) -> int | None:
    try:
        number = int(value)
    except ValueError:
        return None
    if abs(number) >= _LARGEST:
        raise Inexact("it compares with a number beyond 64 bits")
    return number


def _float(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number):
        raise Inexact("it compares with an infinite number")
    return number


def contained_in(subject: Subject, value: object, bound: Callable[[str], str]) -> tuple[str, frozenset[Guard]]:
    """IN: only text and whole numbers can match, each by the text that Python prints of it."""
    items = _items(value)
    guards = subject.structure_guards if any(map(looks_structured, items)) else frozenset()
    numbers = [item for item in items if _INTEGER.fullmatch(item)]
    words = [item for item in items if not _NUMERIC.fullmatch(item)]
    return any_of(_contained(subject, numbers, words, bound)), guards


def _contained(subject: Subject, numbers: list[str], words: list[str], bound: Callable[[str], str]) -> Iterator[str]:
    if words:
        matches = f"{subject.text} IN ({', '.join(map(bound, words))})"
        yield matches if "" not in words else f"{matches} AND {subject.is_text}"
    if numbers:
        if any(len(number) > _MOST_DIGITS for number in numbers):
            raise Inexact("it compares with a number beyond 64 bits")
        integers = f"({', '.join(numbers)})"
        yield f"{subject.whole} AND ifNull(toInt64OrNull({subject.text}) IN {integers}, false)"
        if int64 := subject.typed("Int64"):
            yield f"ifNull({int64} IN {integers}, false)"


def _items(value: object) -> list[str]:
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list):
        raise Inexact("its value is neither a text nor a list")
    return sorted({item if isinstance(item, str) else str(item) for item in value})


def _listed(value: str) -> list[Any]:
    if value.startswith("["):
        try:
            parsed: list[Any] = json.loads(value)
        except ValueError:
            return value.split(",")
        return parsed
    return value.split(",")


def looks_structured(text: str) -> bool:
    """Whether it may be what Python prints of a list or a map, which is the text that the engine sees of one."""
    return text.startswith(("[", "{")) and text.endswith(("]", "}"))


def modulo(subject: Subject, value: str) -> tuple[str, frozenset[Guard]]:
    """MODULO "divisor|remainder" of floats, whose whole numbers up to 2^53 are the integers that SQL divides."""
    try:
        divisor, remainder = map(float, value.split("|"))
    except ValueError:
        return "false", frozenset()
    if not divisor or not all(n.is_integer() and abs(n) < _EXACT_IN_FLOAT for n in (divisor, remainder)):
        raise Inexact("it divides by what is no whole number")
    number, guard = _whole_number(subject)
    # Python's remainder has the sign of the divisor.
    if not (0 <= remainder < divisor or divisor < remainder <= 0):
        return "false", frozenset({guard})
    pieces = [f"ifNull(({number} - {int(remainder)}) % {int(divisor)} = 0, false)"]
    return any_of([*pieces, *_booleans(subject, lambda truth: truth % divisor == remainder)]), frozenset({guard})


def _whole_number(subject: Subject) -> tuple[str, Guard]:
    """The number as Int64 if it is whole, else null. Python divides floats, so large ints are rounded alike."""
    numbers = [f"toFloat64OrNull(if({subject.numeric}, {subject.text}, ''))"]
    if subject.path:
        numbers += [f"toFloat64({subject.path}.:Int64)", f"{subject.path}.:Float64"]
    number = f"coalesce({', '.join(numbers)})"
    guard = Guard(f"countIf(abs({number}) >= {_DIVIDED_IN_SQL})", "it divides a number beyond 62 bits")
    return f"if({number} = trunc({number}), toInt64({number}), NULL)", guard


def percentage_split(segment_key: str, threshold: float, text: str, bound: Callable[[str], str]) -> tuple[str, Guard]:
    """Whether the hash of "segment key,text" is in the first `threshold` percent of 9998 buckets.

    The engine hashes the ids twice over when the hash falls into the bucket that would be 100 percent, and then three
    times over: that is one identity in a hundred million, so that large snapshots have some.
    """
    last = max((bucket for bucket in range(_FULL) if bucket / _FULL * 100 <= threshold), default=-1)
    prefix = bound(f"{segment_key},")
    again = bound(f",{segment_key},")
    first = _bucket(f"{prefix}, {text}")
    second, third = (_bucket(f"{prefix}, " + f", {again}, ".join(["x"] * times)) for times in (2, 3))
    # A lambda, so that only the few texts of that bucket are hashed again.
    texts = f"arrayResize([{text}], {first} = {_FULL})"
    split = f"arrayExists(x -> {second} <= {last} OR ({second} = {_FULL} AND {third} <= {last}), {texts})"
    endless = f"countIf(arrayExists(x -> {second} = {_FULL} AND {third} = {_FULL}, {texts}))"
    return f"{first} <= {last} OR {split}", Guard(endless, "an identity would have to be hashed a fourth time")


def _bucket(texts: str) -> str:
    return f"toUInt16(reinterpretAsUInt128(reverse(MD5(concat({texts})))) % {_FULL + 1})"
