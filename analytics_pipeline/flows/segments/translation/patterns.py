"""Python's regular expressions as RE2 ones that match the same texts, for the part of the language where both agree.

Python's own parser (`re._parser`) says what a pattern means, and each node that means something simple is written anew
for RE2. Whatever RE2 does not have (references, lookaround, atomic groups) or does otherwise (case folding, `.` and a
newline, word boundaries, `$` before a final newline) is either written out or refused. Only whether there is a match
at the start of the text matters, so greediness and groups do not.
"""

import re
import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from analytics_pipeline.flows.segments.errors import Unsupported

if sys.version_info >= (3, 11):
    from re import _constants as sre
    from re import _parser as sre_parse
else:
    import sre_constants as sre
    import sre_parse

# RE2 refuses more, and nested repetitions multiply.
_MOST_REPETITIONS = 1000
_SURROGATES = range(0xD800, 0xE000)


def re2(pattern: str) -> str:
    """An RE2 pattern that is found in exactly the texts at whose start Python's `re` matches `pattern`.

    Raises:
        Unsupported: there is none, or the pattern is invalid.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a later Python may read otherwise; this one decides
            parsed = sre_parse.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unsupported(f"Python refuses it: {error}") from error
    if parsed.state.flags != re.UNICODE:
        raise Unsupported("it sets flags")
    return f"^(?:{_sequence(parsed.data, last=True, repetitions=1)})"


def _sequence(nodes: Sequence[tuple[Any, Any]], *, last: bool, repetitions: int) -> str:
    """Nodes one after the other. `last`: nothing of the pattern follows them."""
    final = len(nodes) - 1
    return "".join(
        _node(kind, value, last=last and position == final, repetitions=repetitions)
        for position, (kind, value) in enumerate(nodes)
    )


def _node(kind: Any, value: Any, *, last: bool, repetitions: int) -> str:
    if kind is sre.LITERAL:
        return _character(value)
    if kind is sre.NOT_LITERAL:
        return f"[^{_character(value)}]"
    if kind is sre.ANY:
        return r"[^\n]"
    if kind is sre.IN:
        return _set(value)
    if kind is sre.AT:
        return _position(value, last=last)
    return _compound(kind, value, last=last, repetitions=repetitions)


def _compound(kind: Any, value: Any, *, last: bool, repetitions: int) -> str:
    if kind is sre.BRANCH:
        branches = [_sequence(list(branch), last=last, repetitions=repetitions) for branch in value[1]]
        return f"(?:{'|'.join(branches)})"
    if kind is sre.SUBPATTERN:
        _, added, removed, body = value
        if added or removed:
            raise Unsupported("it sets flags")
        return f"(?:{_sequence(list(body), last=last, repetitions=repetitions)})"
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return _repeat(*value, repetitions=repetitions)
    raise Unsupported(f"RE2 has no {str(kind).lower()}")


def _repeat(least: int, most: int, body: Any, *, repetitions: int) -> str:
    # Engines disagree about repeating what may be empty.
    if body.getwidth()[0] == 0:
        raise Unsupported("it repeats what may be empty")
    times = max(least, 1) if most is sre.MAXREPEAT else max(int(most), 1)
    if repetitions * times > _MOST_REPETITIONS:
        raise Unsupported(f"it repeats more than {_MOST_REPETITIONS} times")
    bounds = f"{{{least},{'' if most is sre.MAXREPEAT else most}}}"
    return f"(?:{_sequence(list(body), last=False, repetitions=repetitions * times)}){bounds}"


def _position(value: Any, *, last: bool) -> str:
    if value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
        return "^"
    if value is sre.AT_END_STRING:
        return "$"
    if value is sre.AT_END and last:
        return r"\n?$"
    raise Unsupported("it looks for a boundary inside")


def _set(items: Sequence[tuple[Any, Any]]) -> str:
    negated = items[0][0] is sre.NEGATE
    inside = []
    for kind, value in items[negated:]:
        if kind is sre.LITERAL:
            inside.append(_character(value))
        elif kind is sre.RANGE:
            inside.append(_range(*value))
        elif kind is sre.CATEGORY:
            inside.append(_category(str(value)))
        else:
            raise Unsupported(f"RE2 has no {str(kind).lower()}")
    return f"[{'^' if negated else ''}{''.join(inside)}]"


def _category(name: str) -> str:
    letter = {"CATEGORY_DIGIT": "d", "CATEGORY_SPACE": "s", "CATEGORY_WORD": "w"}.get(name)
    if letter is None:
        raise Unsupported("it takes all but a class of characters")
    return _class(letter)


@lru_cache
def _class(letter: str) -> str:
    r"""The ranges of `\d`, `\s` or `\w` as this Python knows them: RE2 has the ASCII ones, or another Unicode."""
    every = "".join(map(chr, (code for code in range(sys.maxunicode + 1) if code not in _SURROGATES)))
    return "".join(_range(ord(run[0]), ord(run[-1])) for run in _runs(re.findall(rf"\{letter}", every)))


def _runs(characters: Sequence[str]) -> list[list[str]]:
    runs: list[list[str]] = []
    for character in characters:
        if runs and ord(character) == ord(runs[-1][-1]) + 1:
            runs[-1].append(character)
        else:
            runs.append([character])
    return runs


def _range(first: int, last: int) -> str:
    # RE2 skips the surrogates by itself, but refuses to begin or end with one.
    if first in _SURROGATES or last in _SURROGATES:
        raise Unsupported("it names half a character")
    return _character(first) if first == last else f"{_character(first)}-{_character(last)}"


def _character(code: int) -> str:
    if code in _SURROGATES:
        raise Unsupported("it names half a character")
    character = chr(code)
    return (
        f"\\{character}" if character.isascii() and not character.isalnum() and character.isprintable() else character
    )
