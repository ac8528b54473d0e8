"""The addresses of stores: what each has to look like, and how much of it may be shown."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr


def without_credentials(url: str) -> str:
    """The URL with user, password and query removed: what logs, metadata and error texts may show.

    A password may hold `/`, `?`, `#` or `@` unescaped, which end it for a parser; where it could be anywhere, only the
    scheme is shown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme, re.ASCII):
        return "…" if url else ""
    before, _, place = rest.rpartition("@")
    shown = "…" if re.search("[?#]", before) else re.split("[?#]", place)[0]
    return f"{scheme}://{shown}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its number or as localhost."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _parsed(url: str, *schemes: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in schemes or url[len(parts.scheme) :][:3] != "://":
        raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return parts


def clickhouse_url(value: SecretStr) -> SecretStr:
    """The URL of a ClickHouse, if it is one; with the three below, a mistake is a ValueError that shows no secret."""
    parts = _parsed(value.get_secret_value(), "https", "http", "chdb")
    if parts.scheme != "chdb" and not (parts.hostname and re.fullmatch(r"/[A-Za-z_]\w*", parts.path, re.ASCII)):
        raise ValueError("must name a host and a database, e.g. https://user:password@host:8443/analytics")
    return value


def postgres_url(value: SecretStr) -> SecretStr:
    """The URL of a Postgres database, if it is one."""
    parts = _parsed(value.get_secret_value(), "postgresql", "postgres", "postgresql+psycopg2")
    if len(parts.path) < 2 or "@" in parts.path:
        raise ValueError("must name a database, e.g. postgresql://user:password@host:5432/product (/ in it as %2F)")
    return value


def landing_url(value: str) -> str:
    """The URL of a landing zone without a slash at its end, if it is one."""
    parts = _parsed(value, "file", "s3")
    is_directory = parts.scheme == "file" and not parts.netloc and parts.path.strip("/")
    is_bucket = parts.scheme == "s3" and parts.netloc and "@" not in value
    if not (is_directory or is_bucket) or parts.query or parts.fragment:
        raise ValueError("must look like file:///absolute/directory or s3://bucket/prefix")
    return value.rstrip("/")


def webhook_url(value: SecretStr) -> SecretStr:
    """The URL of a webhook, if it is one."""
    if not _parsed(value.get_secret_value(), "https", "http").hostname:
        raise ValueError("must name a host, e.g. https://hooks.example.com/…")
    return value


def shown(value: object) -> str:
    """The value of a setting as it may be shown: without credentials, '' when it is unset."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    return without_credentials(value.get_secret_value()) if isinstance(value, SecretStr) else str(value)
