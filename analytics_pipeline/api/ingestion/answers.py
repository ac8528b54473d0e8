"""Answers of the ingestion service: JSON with a status, and refusals that say what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

JSON = "application/json"


@dataclass(frozen=True)
class Answered:
    """An answer: its status, its body and further headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = JSON

    async def send(self, send: Any) -> None:
        """Send it over ASGI."""
        told = {"content-type": self.media, "content-length": str(len(self.body)), **self.headers}
        headers = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Refusal(Exception):
    """A request that is not answered event by event; nothing of it was stored."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.reason, self.headers = status, reason, headers or {}
        super().__init__(reason)

    @property
    def answer(self) -> Answered:
        return answered({"error": self.reason}, self.status, self.headers)


def answered(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answered:
    """The document as JSON."""
    return Answered(status, msgspec.json.encode(document), headers or {})


def away(reason: str, seconds: int) -> Refusal:
    """The refusal of a request that is to be sent again."""
    return Refusal(503, reason, {"Retry-After": str(seconds)})
