"""Objects whose members nobody has listed: properties of custom events, contexts of errors. Their names decide."""

import re
from collections.abc import Callable
from typing import Any

from analytics_pipeline.flows.product_events.errors import TooMuch
from analytics_pipeline.flows.product_events.privacy.templates import LONGEST_TEXT, endpoint, message, without_addresses

DEEPEST = 16
MOST_VALUES = 1_000
_SECRET = re.compile(
    r"pass(?:word|wd|phrase)|secret|token|authorization|cookie|api_?key|private_?key|oauth_?state|^command$|credential"
)
_PERSON = re.compile(r"e_?mail|^(?:user_?name|full_?name|phone(?:_number)?|address)$")
_MESSAGE = re.compile(r"^(?:error|error_message|message|reason|stack(?:_?trace)?|traceback)$")
_PLACE = re.compile(r"^(?:endpoint|url|uri|path|referrer|referer)$")


def treated(pseudonym: Callable[[int, Any], Any], organisation_id: int, value: Any) -> Any:
    """The part of the value that may be stored, whose own members are treated by their names.

    Raises:
        TooMuch: it is deeper or larger than what is taken.
    """
    left = [MOST_VALUES]

    def whole(one: Any, name: str, depth: int) -> Any:
        left[0] -= 1
        if depth > DEEPEST or left[0] < 0:
            raise TooMuch(f"it is nested deeper than {DEEPEST} levels, or has more than {MOST_VALUES:,} values")
        if isinstance(one, dict):
            kept = {key: whole(inner, key, depth + 1) for key, inner in one.items() if not _is_secret(key)}
            return {key: inner for key, inner in kept.items() if inner is not None}
        if isinstance(one, list):
            return [whole(inner, name, depth + 1) for inner in one]
        return text(one, name) if isinstance(one, str) else one

    def text(one: str, name: str) -> Any:
        lowered = name.lower()
        if _PERSON.search(lowered):
            return pseudonym(organisation_id, one)
        if _MESSAGE.search(lowered):
            return message(one)
        return endpoint(one) if _PLACE.search(lowered) else without_addresses(one)

    return whole(value[:LONGEST_TEXT] if isinstance(value, str) else value, "", 0)


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name.lower()))
