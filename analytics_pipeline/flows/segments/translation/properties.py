"""What the property of a condition names: the key of a trait, or a JSONPath into the engine's context."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import jsonpath_rfc9535

Kind: TypeAlias = Literal["trait", "identifier", "identity_key", "constant", "other"]


@dataclass(frozen=True)
class Property:
    """`key`: the trait's key, for a trait. `path`: the property is a JSONPath, which a trait of that name precedes."""

    kind: Kind
    key: str = ""
    path: bool = False


def read_property(text: str) -> Property:
    """Sort the property as the engine does: what begins with `$.` is a JSONPath, unless it is no valid one.

    `constant` is the same for all identities of an environment; `other` may depend on the identity in a way that has
    no column.
    """
    if not text.startswith("$."):
        return Property("trait", text)
    try:
        query = jsonpath_rfc9535.compile(text)
    except jsonpath_rfc9535.JSONPathSyntaxError:
        return Property("trait", text)
    except jsonpath_rfc9535.JSONPathError:
        return Property("other", path=True)  # the engine raises as well
    return _read_names(_names(query))


def is_singular(text: str) -> bool:
    """Whether the property names one place: a query for several takes the first, in an order that no row keeps."""
    try:
        return not text.startswith("$.") or jsonpath_rfc9535.compile(text).singular_query()
    except jsonpath_rfc9535.JSONPathError:
        return True


def _names(query: jsonpath_rfc9535.JSONPathQuery) -> list[str] | None:
    """The names of `$.a.b` as ["a", "b"]; None when it is not made of names alone."""
    if not query.singular_query():
        return None
    names = [getattr(segment.selectors[0], "name", None) for segment in query.segments]
    return [name for name in names if name is not None] if None not in names else None


def _read_names(names: list[str] | None) -> Property:
    match names:
        case ["identity", "identifier"]:
            return Property("identifier", path=True)
        case ["identity", "key"]:
            return Property("identity_key", path=True)
        case ["identity", "traits", key]:
            return Property("trait", key, path=True)
        case ["identity", "traits", _, *_] | None:
            return Property("other", path=True)
        case _:
            return Property("constant", path=True)
