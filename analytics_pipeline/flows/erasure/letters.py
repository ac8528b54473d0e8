"""Whom a dead letter names: it is a whole record, so its own members say.

| flow | record | members |
|---|---|---|
| identities | a document of DynamoDB | environment and identifier, or the composite key of both |
| product_events | an event with its envelope | the unit's organisation, and every UUID in it |
| all others | a row of the product's Postgres | user_id, account_id, organisation_id |

Letters of the usage export hold the id of an event and nothing else.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from analytics_pipeline.flows.erasure.forgotten import Forgotten
from analytics_pipeline.flows.erasure.subjects import Kind, Subject

Document: TypeAlias = dict[str, Any]
FLOWS = ("identities", "product_events", "reporting_events", "duo_chat_events", "code_suggestion_events", "source")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_MEMBERS: Mapping[Kind, str] = {"user": "user_id", "account": "account_id", "organisation": "organisation_id"}


def subjects_of(flow: str, unit: str, record_key: str, payload: str) -> Iterator[Subject]:
    """Everybody whom the letter names."""
    content = _content(payload)
    if flow == "identities":
        yield from _of_document(content if isinstance(content, dict) else {}, record_key)
    elif flow == "product_events":
        yield Subject("organisation", (unit.rpartition(" ")[2],))
        for found in {*_UUID.findall(payload), *_UUID.findall(record_key)}:
            plain = found.replace("-", "").lower()
            parts = (plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:])
            yield Subject("event_user", ("-".join(parts),))
    elif isinstance(content, dict):
        for kind, member in _MEMBERS.items():
            if (value := content.get(member)) is not None:
                yield Subject(kind, (str(value),))


def names_forgotten(who: Forgotten, flow: str, unit: str, record_key: str, payload: str) -> bool:
    """Whether the letter names somebody who was forgotten."""
    if not who.hashes:
        return False
    return any(who.has(one.kind, *one.names) for one in subjects_of(flow, unit, record_key, payload))


def identities_of(document: Document) -> set[tuple[str, str]]:
    """The environment's key and the identifier that a document of DynamoDB names, by its members or its key."""
    environment = _text(document.get("environment_api_key"))
    if environment is None:
        return set()
    identifier, composite = _text(document.get("identifier")), _text(document.get("composite_key"))
    found = {(environment, identifier)} if identifier is not None else set[tuple[str, str]]()
    if composite and composite.startswith(f"{environment}_"):
        found.add((environment, composite.removeprefix(f"{environment}_")))
    return found


def _of_document(document: Document, record_key: str) -> Iterator[Subject]:
    for environment, identifier in identities_of({"composite_key": {"S": record_key}, **document}):
        yield Subject("identity", (environment, identifier))
        yield Subject("environment", (environment,))


def _content(payload: str) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _text(value: Any) -> str | None:
    """The text of a value of DynamoDB, whatever its type."""
    if not isinstance(value, dict):
        return None
    return next((str(one) for one in value.values() if isinstance(one, str | int)), None)
