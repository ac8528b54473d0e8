"""The base of all events: tagged, frozen structs whose wire form is one JSON object with its type in `type`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

U16 = Annotated[int, Meta(ge=0, le=65_535)]
I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The base of all events. Users, tasks and the like are UUIDs; optional members may be absent or null."""


class CustomEvent(Event, tag="custom", frozen=True, kw_only=False):
    """An event that is not in the list: a name of your own and anything that JSON can say."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    properties: dict[str, Any] = {}


def wire_name(event: Event | type[Event]) -> str:
    """The type of an event as it is stored, such as `task_created`; both spellings of an OAuth event give one."""
    return str(event.__struct_config__.tag).replace("o_auth_", "oauth_")
