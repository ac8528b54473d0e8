"""Errors of ClickHouse that pass by themselves, and how often a statement is tried because of them."""

import logging
import re
import time
from collections.abc import Callable
from threading import Event

from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    wait_exponential_jitter,
)

from analytics_pipeline.resources.patience import NoAnswer

logger = logging.getLogger(__name__)

# Server states that pass by themselves; any other error would only repeat.
TRANSIENT_CODES = frozenset(
    {
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        242,  # TABLE_IS_READ_ONLY
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        439,  # CANNOT_SCHEDULE_TASK
        999,  # KEEPER_EXCEPTION
    }
)
TIMEOUT_EXCEEDED = 159
MEMORY_LIMIT_EXCEEDED = 241
# ILLEGAL_FINAL is what a reader of figures by month gets from a table that is still by day, the last is what becomes of
# `CREATE TABLE … AS` one that is not there.
# NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_TABLE, ILLEGAL_FINAL, CANNOT_GET_CREATE_TABLE_QUERY
MISSING_IN_SCHEMA = (16, 60, 181, 390)
_ERROR_CODE = re.compile(r"Code: (\d+)")
_HTTP_STATUS = re.compile(r"HTTP status (\d{3})")
_BUSY_STATUSES = frozenset({429, 500, 502, 503, 504})
# Answers that are not ClickHouse's, by the client's text about them.
_TROUBLES = (
    (r"timed out|Timeout", "the server does not answer in time"),
    (r"CERTIFICATE|SSLError|SSL:", "TLS failed: compare the scheme, the port and the certificates of both ends"),
    (r"BadStatusLine|LineTooLong|Unexpected response|redirect", "what answers there is not ClickHouse"),
    (r"RemoteDisconnected|Connection aborted|Connection closed|reset by peer", "the server closed the connection"),
)


def error_code(error: BaseException) -> int | None:
    """The ClickHouse error code of `error`, or None when the server sent none."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code
    match = _ERROR_CODE.search(str(error))
    return int(match.group(1)) if match else None


def http_status(error: BaseException) -> int | None:
    """The HTTP status of an answer that was not ClickHouse's own, e.g. a proxy's."""
    match = _HTTP_STATUS.search(str(error)) if error_code(error) is None else None
    return int(match.group(1)) if match else None


def trouble(error: ClickHouseError) -> str:
    """The fault where ClickHouse's own answer is missing. Nothing of what was sent instead is shown."""
    status = http_status(error)
    if status is not None:
        busy = ": it, or a proxy before it, is too busy" if status in _BUSY_STATUSES else ", which is not ClickHouse's"
        return f"the server answers with HTTP status {status}{busy}"
    return next((told for pattern, told in _TROUBLES if re.search(pattern, str(error))), "the server does not answer")


def is_transient(error: BaseException) -> bool:
    """Whether repeating the statement may succeed: connection trouble or a passing server state."""
    if not isinstance(error, ClickHouseError):
        return isinstance(error, ConnectionError)
    code = error_code(error)
    if code is None:
        status = http_status(error)
        return status in _BUSY_STATUSES or (status is None and isinstance(error, OperationalError))
    # A limit of the query itself repeats; the server's own is somebody else's load.
    return code in TRANSIENT_CODES or (code == MEMORY_LIMIT_EXCEEDED and "(total)" in str(error))


def is_worth_repeating(error: BaseException) -> bool:
    """Whether to repeat the statement at once: not with a server that was waited for long enough."""
    return is_transient(error) and not isinstance(error, NoAnswer)


def retrying(attempts: int, is_worth_it: Callable[[BaseException], bool], interrupted: Event | None = None) -> Retrying:
    """At most `attempts` tries with exponential pauses and jitter, while the error `is_worth_it`; each is logged.

    No pause outlasts `interrupted`.
    """
    return Retrying(
        sleep=time.sleep if interrupted is None else sleep_using_event(interrupted),
        retry=retry_if_exception(is_worth_it),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential_jitter(multiplier=0.5, max=20),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )


def is_busy(error: BaseException) -> bool:
    """Whether a server that answers is in trouble; one that does not answer at all is reported at once."""
    return is_transient(error) and error_code(error) is not None
