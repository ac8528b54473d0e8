"""Properties of conditions: the key of a trait, or a JSONPath into the engine's context."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import jsonpath_rfc9535

Kind: TypeAlias = Literal["trait", "inside", "identifier", "identity_key", "constant", "several", "unseen"]


@dataclass(frozen=True)
class Property:
    """The subject that a property names.

    `inside` is a place in a trait's list or map. `constant` is the same for all identities of an environment. `several`
    are places of which the engine takes the first, in an order that no row keeps. `unseen` is what a snapshot does not
    hold. `key`: the trait's, for a trait and for what is inside of one. `path`: the property is a JSONPath, which a
    trait of that name precedes.
    """

    kind: Kind
    key: str = ""
    path: bool = False


def read_property(text: str) -> Property:
    """Sort the property as the engine does: what begins with `$.` is a JSONPath, unless it is no valid one."""
    if not text.startswith("$."):
        return Property("trait", text)
    try:
        query = jsonpath_rfc9535.compile(text)
    except jsonpath_rfc9535.JSONPathSyntaxError:
        return Property("trait", text)
    except jsonpath_rfc9535.JSONPathError:
        return Property("unseen", path=True)  # the engine raises as well
    if not query.singular_query():
        return Property("several", path=True)
    return _read_names([getattr(segment.selectors[0], "name", None) for segment in query.segments])


def _read_names(names: list[str | None]) -> Property:
    """Sort `$.a.b` as ["a", "b"]; None stands for an index."""
    match names:
        case ["identity", "identifier"]:
            return Property("identifier", path=True)
        case ["identity", "key"]:
            return Property("identity_key", path=True)
        case ["identity", "traits", str(key)]:
            return Property("trait", key, path=True)
        case ["identity", "traits", str(key), *_]:
            return Property("inside", key, path=True)
        # Of objects the engine reads nothing.
        case ["identity"] | ["identity", "traits"] | ["environment"] | ["environment", "key" | "name"]:
            return Property("constant", path=True)
        case _:
            return Property("unseen", path=True)
