"""Endpoint templates: which route a request took, never which user, task or file it was about."""

import re
from collections.abc import Iterable

UNMATCHED = "(unmatched)"
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,39}|v\d{1,2}")
_ID = "{id}"
_MOST_SEGMENTS = 12


def templated(path: str, values: Iterable[tuple[str, object]] = ()) -> str:
    """The path with everything replaced that may be an id.

    `values` are the route's parameters, by name, if the framework tells them: their segments become `{name}`. Of the
    rest only plain words and versions such as `v1` stay.
    """
    names = {str(value): f"{{{name}}}" for name, value in values}
    segments = [segment for segment in path.partition("?")[0].split("/") if segment][:_MOST_SEGMENTS]
    return "/" + "/".join(names.get(segment) or (segment if _WORD.fullmatch(segment) else _ID) for segment in segments)
