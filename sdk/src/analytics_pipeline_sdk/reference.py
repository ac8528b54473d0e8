"""The list of events as a page: `python -m analytics_pipeline_sdk.reference > EVENTS.md`."""

import inspect
import sys
from types import NoneType
from typing import Any, get_args, get_type_hints
from uuid import UUID

import msgspec

from analytics_pipeline_sdk.events import EVENT_TYPES, Event, wire_name

_HEADING = """# Events

Made from the types by `python -m analytics_pipeline_sdk.reference`. Import them from `analytics_pipeline_sdk.events`.
A `?` marks what may be left out; ids are `uuid.UUID`. On the wire an event is one JSON object, and its member `type` is
the name below.
"""
_NAMES = {UUID: "UUID", str: "text", bool: "boolean", float: "number", Any: "anything"}


def page() -> str:
    """The whole page."""
    return "\n".join([_HEADING, *(_section(kind) for kind in EVENT_TYPES)])


def _section(kind: type[Event]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    rows = [
        f"| `{field.name}`{'' if field.required else '?'} | {_type_name(hints[field.name])} |"
        for field in msgspec.structs.fields(kind)
    ]
    table = "\n".join(["| Member | Type |", "|---|---|", *rows])
    return f"## {kind.__name__}\n\n`{wire_name(kind)}`: {inspect.getdoc(kind)}\n\n{table}\n"


def _type_name(hint: Any) -> str:
    known = [one for one in get_args(hint) if one is not NoneType and not isinstance(one, msgspec.Meta)]
    bounds = next((one for one in get_args(hint) if isinstance(one, msgspec.Meta)), None)
    if hint in _NAMES:
        return _NAMES[hint]
    if bounds is not None and bounds.ge is not None:
        return f"integer from {bounds.ge} to {bounds.le}"
    if bounds is not None:
        return f"text of {bounds.min_length} to {bounds.max_length} characters"
    return _type_name(known[0]) if len(known) == 1 else "object"


if __name__ == "__main__":
    sys.stdout.write(page())
