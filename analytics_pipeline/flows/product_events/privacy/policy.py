"""The part that is stored of members that may hold something personal: a policy by type, applied before storing.

| action | what is stored |
|---|---|
| `keep` | the text as it is |
| `drop` | nothing |
| `hmac` | a pseudonym, the same for the same text of an organisation (EVENT_PRIVACY_KEY); without the key, nothing |
| `truncate` | its first 200 characters |
| `template` | the text with ids, numbers, addresses and quotations replaced; of an endpoint, its path |
| `members` | of an object, each of its members by its own name (`members.py`) |

Every action leaves alone what it has made itself, so that an event may pass through more than once.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.flows.product_events.privacy.members import treated
from analytics_pipeline.flows.product_events.privacy.templates import LONGEST_LABEL, endpoint, message
from analytics_pipeline.flows.product_events.registry import MEMBERS

Action = Literal["keep", "drop", "hmac", "truncate", "template", "members"]
# Treats the value of one member, given the organisation; None: it is not stored.
Treatment = Callable[[int, Any], Any]
_PSEUDONYM = re.compile(r"hmac:[0-9a-f]{32}")
_BY_NAME: Mapping[str, Action] = {
    "error": "template",
    "error_message": "template",
    "reason": "template",
    "endpoint": "template",
    **dict.fromkeys(("provider", "method", "error_type", "service", "environment"), "truncate"),
    **dict.fromkeys(("email", "command", "device_name", "cocoon_name"), "hmac"),
    "state": "drop",
    **dict.fromkeys(("properties", "context"), "members"),
}


def default_policy() -> dict[str, dict[str, Action]]:
    """The action of every member of every type, as it is where EVENT_PRIVACY says nothing."""
    return {kind: {member: _BY_NAME.get(member, "keep") for member in members} for kind, members in MEMBERS.items()}


def policy(settings: Settings) -> dict[str, dict[str, Action]]:
    """The action of every member of every type.

    Raises:
        ConfigurationError: EVENT_PRIVACY names a member that no type has.
    """
    found = default_policy()
    for one in settings.event_privacy:
        place, _, action = one.partition("=")
        kind, _, member = place.partition(".")
        if member not in found.get(kind, {}):
            raise ConfigurationError([("EVENT_PRIVACY", f"{place} is no member of an event (sdk/EVENTS.md)")])
        found[kind][member] = action  # type: ignore[assignment]
    return found


@dataclass(frozen=True)
class Privacy:
    """The policy, ready to be applied: by type, the members that are treated at all."""

    treatments: Mapping[str, tuple[tuple[str, Treatment], ...]]
    key: bytes | None = field(repr=False)

    def treat(self, kind: str, organisation_id: int, members: dict[str, Any]) -> None:
        """Change the members of an event of that type into what may be stored of them."""
        for name, treatment in self.treatments[kind]:
            value = members.get(name)
            if value is not None:
                members[name] = treatment(organisation_id, value)


def privacy(settings: Settings) -> Privacy:
    """The policy of the settings.

    Raises:
        ConfigurationError: EVENT_PRIVACY names a member that no type has.
    """
    key = settings.event_privacy_key.get_secret_value().encode() if settings.event_privacy_key else None
    treatments = {
        kind: tuple((name, _treatment(action, name, key)) for name, action in members.items() if action != "keep")
        for kind, members in policy(settings).items()
    }
    return Privacy(treatments, key)


def _treatment(action: Action, name: str, key: bytes | None) -> Treatment:
    made: Mapping[Action, Treatment] = {
        "drop": _dropped,
        "hmac": partial(pseudonym, key) if key else _dropped,
        "truncate": _truncated,
        "template": _templated(endpoint if name == "endpoint" else message),
        "members": partial(treated, partial(pseudonym, key) if key else _dropped),
    }
    return made[action]


def pseudonym(key: bytes, organisation_id: int, value: object) -> str | None:
    """The pseudonym of a text in an organisation; nothing of what is no text."""
    if not isinstance(value, str):
        return None
    if _PSEUDONYM.fullmatch(value):
        return value
    digest = hmac.digest(key, b"%d:%s" % (organisation_id, value.encode("utf-8", "surrogatepass")), "sha256")
    return f"hmac:{digest[:16].hex()}"


def _dropped(_: int, __: object) -> None:
    return None


def _truncated(_: int, value: object) -> object:
    return value[:LONGEST_LABEL] if isinstance(value, str) else value


def _templated(template: Callable[[str], str]) -> Treatment:
    return lambda _, value: template(value) if isinstance(value, str) else value


ACTIONS: tuple[str, ...] = tuple(one for one in get_args(Action) if one != "members")
