"""A receiver of signed NDJSON over HTTP: each batch in one request, which repeats under the same key."""

import gzip
import hashlib
import hmac
import time
from dataclasses import dataclass

from pydantic import SecretStr
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.sinks.base import Batch, Delivery, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.parts import ContentRefused, around_refused
from analytics_pipeline.resources.sinks.posting import Answer, Poster, PrivateAddress, Unreachable
from analytics_pipeline.sink_addresses import SinkAddress, is_loopback, secret_variable

SECONDS = 60.0
SIGNATURE, KEY, RECORDS, SYNTHETIC = (
    "Analytics-Signature",
    "Idempotency-Key",
    "Analytics-Records",
    "Analytics-Synthetic",
)
# Of the key of a batch; and so long a wish for a pause is heard.
_DIGITS = 16
_LONGEST_PAUSE = 3_600.0
# The whole batch was taken. Any other 2xx says something else, e.g. 207 that only some of it was.
_TAKEN = frozenset({200, 201, 202, 204})
_PASSING = frozenset({408, 425, 429})
# Who we are, where it is, how it is asked: no record is at fault.
_ABOUT_US = frozenset({401, 402, 403, 404, 405, 406, 407, 410, 411, 415, 421, 426, 428, 431, 451})


@dataclass(frozen=True)
class HttpSink:
    """Batches as posts."""

    name: str
    poster: Poster
    secret: SecretStr

    def check(self) -> None:
        if reason := self._refusal_of_nothing():
            raise SinkRefused(
                f"The receiver of the sink {self.name} refuses an empty batch ({reason}). It has to answer one with 204"
            )

    def send(self, batch: Batch) -> Delivery:
        delivery = around_refused(batch, self._post)
        # Every record is bad, or the receiver refuses whatever it gets: it does not refuse nothing for the records.
        if len(delivery.refused) == len(batch.ids) and (reason := self._refusal_of_nothing()):
            raise SinkRefused(
                f"The receiver of the sink {self.name} refuses every record ({delivery.refused[0].reason}) and an empty"
                f" batch ({reason}), so the records are not at fault. Look at its log"
            )
        return delivery

    def close(self) -> None:
        self.poster.close()

    def _refusal_of_nothing(self) -> str:
        try:
            self._post(Batch((), b""))
        except ContentRefused as error:
            return str(error)
        return ""

    def _post(self, batch: Batch) -> int:
        body = gzip.compress(batch.lines, 1, mtime=0)
        try:
            answer = self.poster.post(body, self._headers(batch, body))
        except Unreachable as error:
            raise SinkUnavailable(f"The receiver of the sink {self.name}: {error}") from None
        except PrivateAddress:
            raise SinkRefused(
                f"The sink {self.name} leads to an address that is not public, so nothing was sent. If that is meant,"
                " set EXPORT_ALLOW_PRIVATE_ADDRESSES=true"
            ) from None
        self._judge(answer)
        return len(body)

    def _headers(self, batch: Batch, body: bytes) -> dict[str, str]:
        key = key_of(batch)
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "User-Agent": "analytics_pipeline",
            KEY: key,
            RECORDS: str(len(batch.ids)),
            SIGNATURE: signature(self.secret.get_secret_value(), int(time.time()), key, body),
        }
        return headers | ({SYNTHETIC: "true"} if batch.is_synthetic else {})

    def _judge(self, answer: Answer) -> None:
        told = f"HTTP status {answer.status}"
        if answer.status in _TAKEN:
            return
        if answer.status in _PASSING or answer.status >= 500:
            raise SinkUnavailable(f"The receiver of the sink {self.name}: {told}", _pause(answer))
        if 300 <= answer.status < 400:
            told += ", a redirect, which is not followed: name the final address in EXPORT_SINKS"
        elif answer.status in (401, 403):
            told += f": compare {secret_variable(self.name)} with the receiver's"
        elif answer.status >= 400 and answer.status not in _ABOUT_US:
            raise ContentRefused(told)
        raise SinkRefused(f"The receiver of the sink {self.name} takes nothing: {told}")


def key_of(batch: Batch) -> str:
    """The same for the same records: other records between the same ids are no repeat, and must not be dropped."""
    if not batch.ids:
        return "empty"
    return f"{batch.key}-{hashlib.sha256(batch.lines).hexdigest()[:_DIGITS]}"


def signature(secret: str, at: int, key: str, body: bytes) -> str:
    """The field that signs a request: when (seconds since 1970), and HMAC-SHA256 of that, the key and the body."""
    signed = hmac.new(secret.encode(), f"{at}.{key}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"


def _pause(answer: Answer) -> float | None:
    """The pause in seconds that the answer asks for, at most an hour."""
    wish = answer.headers.get("retry-after")
    if wish is None:
        return None
    try:
        return min(float(Retry().parse_retry_after(wish)), _LONGEST_PAUSE)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def open_http(address: SinkAddress, settings: Settings, run_id: str | None) -> HttpSink:
    """The sink of an HTTP receiver. An address that is written as this machine's is meant to be."""
    is_meant = settings.export_allow_private_addresses or is_loopback(address.parts.hostname or "")
    url = address.url.get_secret_value()
    poster = Poster(url, f"the receiver of the sink {address.name}", SECONDS, only_public=not is_meant)
    if address.secret is None:
        raise SinkRefused(f"The sink {address.name} cannot sign what it sends: set {secret_variable(address.name)}")
    return HttpSink(address.name, poster, address.secret)
