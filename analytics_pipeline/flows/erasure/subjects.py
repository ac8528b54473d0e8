"""Subjects that can be forgotten, and the keyed hash by which one is known without being named.

The hash is two rounds of SHA-256 over the installation's own key and the text of the subject, as HMAC is, so that
Python, Postgres and ClickHouse make the same of it and each can compare whole columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias
from uuid import UUID

# `user` has a number, `event_user` is a user of product events and has a UUID. Projects and environments are forgotten
# with their organisation.
Kind: TypeAlias = Literal["identity", "user", "event_user", "account", "organisation", "project", "environment"]
# ClickHouse's types of the values that name a subject.
TYPES: dict[Kind, tuple[str, ...]] = {
    "identity": ("String", "String"),
    "user": ("UInt64",),
    "event_user": ("UUID",),
    "account": ("UInt64",),
    "organisation": ("UInt64",),
    "project": ("UInt64",),
    "environment": ("String",),
}


@dataclass(frozen=True)
class Subject:
    """One subject: of an identity the environment's key and the identifier, else one text."""

    kind: Kind
    names: tuple[str, ...]

    def digest(self, key: bytes) -> bytes:
        """The hash by which the ledger knows it."""
        return digest(key, self.kind, *self.names)


def digest(key: bytes, kind: Kind, *names: str) -> bytes:
    """The hash of the subject of these names."""
    *scope, last = (name.encode("utf-8", "surrogatepass") for name in names)
    text = f"{kind}:".encode() + b"".join(b"%d:%s" % (len(one), one) for one in scope) + last
    return sha256(key + sha256(key + text).digest()).digest()


def in_clickhouse(kind: Kind, columns: Sequence[str]) -> str:
    """The same in ClickHouse, as a text of hexadecimal digits, of the subject that these expressions name.

    The statement takes the parameter `erasure_key`, the key in hexadecimal digits.
    """
    *scope, last = columns
    scoped = "".join(f", toString(length({one})), ':', {one}" for one in scope)
    key = "unhex({erasure_key:String})"
    return f"hex(SHA256(concat({key}, SHA256(concat({key}, '{kind}:'{scoped}, toString({last}))))))"


def in_postgres(kind: Kind, columns: Sequence[str], key: str = "%(erasure_key)s::bytea") -> str:
    """The same in Postgres, as bytes; `key` is the SQL of the key, by default a parameter."""
    *scope, last = columns
    scoped = "".join(f" || octet_length({one}) || ':' || {one}" for one in scope)
    return f"sha256({key} || sha256({key} || convert_to('{kind}:'{scoped} || {last}::text, 'UTF8')))"


def identity(environment: str, identifier: str) -> Subject:
    return Subject("identity", (environment, identifier))


def user(text: str) -> Subject:
    """The user of that id: a number, or a UUID for a user of product events.

    Raises:
        ValueError: it is neither.
    """
    if text.isascii() and text.isdecimal():
        return numbered("user", text)
    return Subject("event_user", (str(UUID(text)),))


def numbered(kind: Kind, text: str) -> Subject:
    """The subject of this kind whose id is that number.

    Raises:
        ValueError: it is no number, or none that an id can be.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 30) or int(text) >= 2**63:
        raise ValueError(f"{text[:40]!r} is not an id: a whole number from 0 to {2**63 - 1}")
    return Subject(kind, (str(int(text)),))
