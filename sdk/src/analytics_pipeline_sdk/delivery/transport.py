"""One request over a persistent connection, and what its answer means for the batch."""

import email.utils
import gzip
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from analytics_pipeline_sdk.protocol import ATTEMPT_HEADER, BATCH_PATH, REQUEST_ID_HEADER, Answer, Verdict
from analytics_pipeline_sdk.version import VERSION

if TYPE_CHECKING:
    import urllib3

# The token or the address is wrong, or a redirect would have to be followed: it is not the events' fault.
_NOT_THE_EVENTS = frozenset({401, 403, 404, 405, 407})
_NOT_NOW = frozenset({408, 425, 429})
_LONGEST_WAIT = 3_600.0
_ANSWER_BYTES = 8 << 20
_CHUNK_BYTES = 64 << 10
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Answered:
    """A verdict for each event that the server answered for, by index."""

    verdicts: dict[int, Verdict]
    retry_after: float | None = None


@dataclass(frozen=True)
class Away:
    """The endpoint did not take the batch for a reason that is not in it."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Unreadable:
    """The endpoint says that something in the batch is wrong."""

    reason: str


Outcome = Answered | Away | Unreadable


@dataclass(frozen=True)
class Origin:
    """Where the events of a client come from; it is said once a batch."""

    service: str | None = None
    hostname: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Request:
    """A batch at one of its attempts."""

    request_id: str
    attempt: int
    payloads: Sequence[bytes]


def checked_url(url: str) -> str:
    """The URL without a slash at its end; raises ValueError unless it is http(s), has a host and no password."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("the URL of the analytics endpoint must look like https://host or http://host:port")
    if parts.username or parts.password:
        raise ValueError("the URL of the analytics endpoint must hold no password; give a token instead")
    return url.rstrip("/")


@dataclass
class Transport:
    """Sends batches to `url`; used by one thread. Nothing of the token or the events is in what it returns."""

    url: str
    token: str | None
    origin: Origin
    timeout: float
    _pool: "urllib3.PoolManager | None" = field(default=None, init=False, repr=False)

    def send(self, request: Request) -> Outcome:
        """Send the batch once. Every failure is an outcome; nothing is raised."""
        try:
            return self._exchange(request)
        except Exception as error:  # noqa: BLE001 - whatever the network or a library does, the events are kept
            return Away(type(error).__name__)

    def _exchange(self, request: Request) -> Outcome:
        deadline = time.monotonic() + self.timeout
        response = self._connections().request(
            "POST",
            self.url + BATCH_PATH,
            body=gzip.compress(body(request, self.origin), compresslevel=1, mtime=0),
            headers=self._headers(request),
            preload_content=False,
        )
        try:
            answer = _read(response, deadline)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return outcome(response.status, answer, retry_after(response.headers.get("Retry-After")), request.request_id)

    def _connections(self) -> "urllib3.PoolManager":
        if self._pool is None:
            # It takes longer to import than everything else here; the first batch does it, in its own thread.
            import urllib3

            timeout = urllib3.Timeout(connect=min(_CONNECT_SECONDS, self.timeout), read=self.timeout)
            self._pool = urllib3.PoolManager(maxsize=1, retries=False, timeout=timeout)
        return self._pool

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": f"analytics-pipeline-sdk/{VERSION}",
            REQUEST_ID_HEADER: request.request_id,
            ATTEMPT_HEADER: str(request.attempt),
        }
        return headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})


def body(request: Request, origin: Origin) -> bytes:
    """The request as JSON (`protocol.Batch`); the events are JSON already."""
    head = {
        "request_id": request.request_id,
        "attempt": request.attempt,
        "sent_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sdk": f"python/{VERSION}",
        "hostname": origin.hostname,
        "environment": origin.environment,
        "service": origin.service,
    }
    known = msgspec.json.encode({name: value for name, value in head.items() if value is not None})
    return known[:-1] + b',"events":[' + b",".join(request.payloads) + b"]}"


def _read(response: "urllib3.BaseHTTPResponse", deadline: float) -> bytes:
    """The whole body; raises if it is cut off, too large, or drips past the deadline."""
    data = b""
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > _ANSWER_BYTES or time.monotonic() > deadline:
            raise TimeoutError
    return data


def outcome(status: int, answer: bytes, wait: float | None, request_id: str) -> Outcome:
    """The meaning of an answer; a success that says nothing about this request is none."""
    if 200 <= status < 300:
        try:
            found = msgspec.json.decode(answer, type=Answer)
        except msgspec.MsgspecError:
            return Away("answer_unreadable", wait)
        if str(found.request_id) != request_id:
            return Away("answer_to_another_request", wait)
        return Answered({verdict.index: verdict for verdict in found.verdicts}, wait)
    if 400 <= status < 500 and status not in _NOT_THE_EVENTS | _NOT_NOW:
        return Unreadable(f"http_{status}")
    return Away(f"http_{status}", wait)


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, which has seconds or a date; None where it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else None
