"""Texts without what tells one person, thing or request from another: errors and endpoints stay few."""

import re
from functools import lru_cache

# Of labels: what a column of few distinct values holds.
LONGEST_LABEL = 200
LONGEST_TEXT = 500
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
# A letter or digit more than half-way tells hexadecimal ids from words such as "decade" or "facade".
_HEX = r"(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}"
_EMAIL = r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+"
_PERSONAL = re.compile(
    rf"(?P<email>{_EMAIL})"
    r"""|(?P<text>"[^"\n]{1,300}"|(?<!\w)'[^'\n]{1,300}'(?!\w)|`[^`\n]{1,300}`)"""
    r"|(?P<query>(?<=\S)\?\S+)"
    rf"|\b(?P<id>{_UUID}|{_HEX})\b"
    r"|(?P<n>\d+)"
)
_ADDRESS = re.compile(_EMAIL)
_SEGMENT_ID = re.compile(rf"\d+|{_UUID}|{_HEX}|.*[@%=:,;|].*|(?=.*\d)[\w.~-]{{12,}}|.{{40,}}", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{\w{1,40}(?::\w{1,40})?\}|:[A-Za-z_]\w{0,39}|<\w{1,40}(?::\w{1,40})?>")


# Of one fault there are many events.
@lru_cache(maxsize=8_192)
def message(text: str) -> str:
    """An error's message: e-mail addresses, quotations, query strings, ids and numbers become `{…}`."""
    return _PERSONAL.sub(lambda found: f"{{{found.lastgroup}}}", text[: 2 * LONGEST_TEXT])[:LONGEST_TEXT]


def without_addresses(text: str) -> str:
    """The text with `{email}` in place of each e-mail address."""
    return _ADDRESS.sub("{email}", text) if "@" in text else text


@lru_cache(maxsize=8_192)
def endpoint(text: str) -> str:
    """The path of an endpoint, with `{id}` in place of whatever looks like one; host, query and fragment go."""
    path = re.sub(r"^[A-Za-z][\w+.-]*://[^/?#]*", "", text[: 4 * LONGEST_TEXT])
    segments = re.split(r"[?#]", path, maxsplit=1)[0].split("/")
    return "/".join(map(_segment, segments))[:LONGEST_TEXT]


def _segment(text: str) -> str:
    return "{id}" if _SEGMENT_ID.fullmatch(text) and not _PLACEHOLDER.fullmatch(text) else text
