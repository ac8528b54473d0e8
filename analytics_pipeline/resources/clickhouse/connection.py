"""Opening a connection to ClickHouse, and saying why there is none."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.addresses import without_credentials
from analytics_pipeline.config import AccessRefused, NotConfigured, Settings
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import error_code, is_busy, is_transient, retrying, trouble
from analytics_pipeline.resources.clickhouse.room import Limits
from analytics_pipeline.resources.patience import NoAnswer, Patience

# A service that sleeps while nobody asks takes half a minute to wake up.
CONNECT_SECONDS = 60.0
# What a tick asks takes milliseconds.
TICK_SECONDS = 20
# A server that is silent is told apart from one whose answer trickles in; after this both are given up.
GRACE_SECONDS = 5.0


@contextmanager
def connect(
    settings: Settings, tag: Tag, attempts: int = 5, timeout_seconds: int | None = None
) -> Iterator[ClickHouse]:
    """A connection for one piece of work, closed at its end.

    A statement may take `timeout_seconds`; at most, and by default, CLICKHOUSE_TIMEOUT_SECONDS.

    Raises:
        NotConfigured: `CLICKHOUSE_URL` is not set.
        ConnectionError: the server does not answer, or refuses (`AccessRefused`); the text shows no credentials.
    """
    if settings.clickhouse_url is None:
        raise NotConfigured("clickhouse", "CLICKHOUSE_URL")
    url = settings.clickhouse_url.get_secret_value()
    timeout = min(timeout_seconds or settings.clickhouse_timeout_seconds, settings.clickhouse_timeout_seconds)
    silence = timeout + (30 if timeout_seconds is None else 0)
    client = _opened(url, attempts, _options(url, timeout, silence))
    patience = Patience(_peer(url), silence + GRACE_SECONDS)
    try:
        limits = Limits(settings.guard_free_disk_percent, settings.guard_parts_percent)
        yield ClickHouse(client, tag, settings.clickhouse_cluster, attempts, timeout, patience, limits=limits)
    finally:
        client.close()


def glance(settings: Settings, flow: str) -> AbstractContextManager[ClickHouse]:
    """The connection of a sensor or a schedule, which must not wait for a store that is in trouble."""
    return connect(settings, Tag(flow, "tick"), attempts=1, timeout_seconds=TICK_SECONDS)


def _opened(url: str, attempts: int, options: Mapping[str, Any]) -> Client:
    patience = Patience(_peer(url), CONNECT_SECONDS)
    try:
        client: Client = retrying(attempts, is_busy)(
            patience.wait_for, clickhouse_connect.get_client, dsn=url, **options
        )
    except ClickHouseError as error:
        raise _refusal(url, error) from None
    except NoAnswer:
        raise ConnectionError(_refused(url, "the server does not answer in time")) from None
    except TypeError:
        raise AccessRefused(_refused(url, "the URL has an option that the client does not know")) from None
    return client


def _options(url: str, timeout: int, patience: int) -> dict[str, Any]:
    """How the client connects. A statement may take `timeout` seconds; its answer is waited for `patience` seconds."""
    scheme = url.partition("://")[0].lower()
    return {
        # The client guesses TLS from the port, not from the URL, and would send the password in clear text.
        "interface": None if scheme == "chdb" else scheme,
        # Without a session, one client serves many threads.
        "autogenerate_session_id": False,
        # A project's predicates carry more parameters than a URL takes.
        "form_encode_query_params": True,
        "tz_mode": "aware",
        "connect_timeout": 10,
        "send_receive_timeout": patience,
        "settings": {"max_execution_time": timeout},
        # One policy of retries, ours, which is logged and ends after `attempts`.
        "query_retries": 0,
        "client_name": "analytics_pipeline",
    }


def _peer(url: str) -> str:
    return f"ClickHouse at {without_credentials(url)}"


def _refusal(url: str, error: ClickHouseError) -> ConnectionError:
    code = error_code(error)
    known = {516: "the user or password is wrong", 81: "the database does not exist"}
    reason = trouble(error) if code is None else known.get(code, f"ClickHouse error {code}")
    kind = ConnectionError if is_transient(error) else AccessRefused
    return kind(_refused(url, reason))


def _refused(url: str, reason: str) -> str:
    place = without_credentials(url)
    return f"ClickHouse at {place}: {reason}. Check CLICKHOUSE_URL, then run: analytics-pipeline doctor"
