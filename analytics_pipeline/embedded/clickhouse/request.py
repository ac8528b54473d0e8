"""The parts of a request: the parameters of the URL, of the headers and of a multipart form in one place."""

import base64
import binascii
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

from analytics_pipeline.embedded.clickhouse.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    POCO_EXCEPTION,
    QUERY_IS_TOO_LARGE,
    UNKNOWN_ROLE,
    ClickHouseError,
    clickhouse_error,
)
from analytics_pipeline.embedded.clickhouse.sessions import SessionKey

# A statement without rows is held in memory; ClickHouse's own limit, max_query_size, is 256 KiB by default.
MAX_STATEMENT_BYTES = 64 * 1024 * 1024
# Parameters of the interface that are not settings, and settings of the interface that the engine has no use for.
_NOT_SETTINGS = frozenset(
    {
        "database",
        "default_format",
        "query",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "user",
        "password",
        "quota_key",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "role",
        "readonly",
        "stacktrace",
        "close_session",
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
    }
)
_MAX_FIELDS = 10_000
# ClickHouse's http_max_field_value_size, of a field of a form; a statement is one, too.
_MAX_FIELD_BYTES = 128 * 1024
_FIELD_NAME = re.compile(rb'name="([^"]*)"')
_QUERY_ID = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True)
class Request:
    """A request without its body."""

    headers: Headers
    values: Mapping[str, str]
    readonly: bool
    query_id: str

    @property
    def database(self) -> str | None:
        """The database to run in; without one it is the session's."""
        return self.values.get("database") or self.headers.get("x-clickhouse-database")

    @property
    def format(self) -> str:
        """The output format of a statement that names none."""
        return self.values.get("default_format") or self.headers.get("x-clickhouse-format") or "TabSeparated"

    @property
    def statement(self) -> bytes:
        """The statement, or the part of it, that does not come in the body."""
        return _bytes(self.values.get("query", ""))

    @property
    def waits_for_end(self) -> bool:
        """Tells whether the client wants headers that know how the statement ended."""
        return self.values.get("wait_end_of_query") == "1"

    @property
    def accept_encoding(self) -> str:
        """Compression of the answer: none unless the client asks twice, as in ClickHouse."""
        return self.headers.get("accept-encoding", "") if self.values.get("enable_http_compression") == "1" else ""

    @property
    def session(self) -> SessionKey | None:
        """The session that the request belongs to."""
        session_id = self.values.get("session_id")
        if not session_id:
            return None
        must_exist = self.values.get("session_check") == "1"
        return SessionKey(session_id, self.values.get("session_timeout", "60"), must_exist)

    def settings(self) -> dict[str, str]:
        """Returns the engine's settings of this request."""
        return {k: v for k, v in self.values.items() if k not in _NOT_SETTINGS and not k.startswith("param_")}

    def parameters(self) -> dict[str, str]:
        """Returns the values of {name:Type} substitutions."""
        return {k.removeprefix("param_"): v for k, v in self.values.items() if k.startswith("param_")}


def read_request(scope: Scope, user: str, password: str) -> Request:
    """Returns the checked request of an authenticated client."""
    headers = Headers(scope=scope)
    values = _pairs(scope["query_string"])
    _authenticate(headers, values, user, password)
    return _request(scope, headers, values)


def with_form(request: Request, scope: Scope, chunks: Iterable[bytes]) -> Request:
    """Returns the request with the fields of its multipart form."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])
    if boundary is None:
        raise clickhouse_error(BAD_ARGUMENTS, "The multipart form has no boundary in its Content-Type")
    values = {**request.values, **_form_fields(collect(chunks), boundary[1].encode())}
    return _request(scope, request.headers, values)


def collect(chunks: Iterable[bytes]) -> bytes:
    """Returns a whole statement; one that is too large to be a statement is an error."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_STATEMENT_BYTES:
            raise clickhouse_error(
                QUERY_IS_TOO_LARGE,
                f"The statement is longer than {MAX_STATEMENT_BYTES} bytes: send rows with INSERT ... FORMAT",
            )
    return bytes(body)


def _request(scope: Scope, headers: Headers, values: Mapping[str, str]) -> Request:
    for name in ("compress", "decompress"):
        if values.get(name, "0") != "0":
            raise clickhouse_error(NOT_IMPLEMENTED, f"{name}=1 is not supported here: use Content-Encoding")
    if "role" in values:
        raise clickhouse_error(UNKNOWN_ROLE, f"There is no role {values['role']!r}: this server has none")
    query_id = values.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4())
    if not _QUERY_ID.fullmatch(query_id):
        raise clickhouse_error(BAD_ARGUMENTS, "query_id must be up to 256 visible ASCII characters")
    # GET implies readonly in ClickHouse: a link or an image tag must not change anything.
    readonly = scope["method"] != "POST" or values.get("readonly", "0") != "0"
    return Request(headers, values, readonly, query_id)


def _pairs(query_string: bytes) -> dict[str, str]:
    text = query_string.decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MAX_FIELDS))
    except ValueError as error:
        raise clickhouse_error(BAD_ARGUMENTS, f"The parameters of the URL cannot be read: {error}") from error


def _form_fields(body: bytes, boundary: bytes) -> dict[str, str]:
    fields = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _FIELD_NAME.search(head)
        if name is None or b"filename=" in head:
            raise clickhouse_error(NOT_IMPLEMENTED, "External data is not supported here: insert it into a table first")
        value = value.removesuffix(b"\r\n")
        if len(value) > _MAX_FIELD_BYTES:
            raise clickhouse_error(POCO_EXCEPTION, "HTML Form Exception: Field value too long")
        fields[name[1].decode()] = value.decode("utf-8", "surrogateescape")
    return fields


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _authenticate(headers: Headers, values: Mapping[str, str], user: str, password: str) -> None:
    given = _credentials(headers, values)
    if given is None:
        raise MissingCredentialsError(user)
    # Both comparisons always run, so that the time taken tells nothing.
    same_user = hmac.compare_digest(_bytes(given[0]), user.encode())
    same_password = hmac.compare_digest(_bytes(given[1]), password.encode())
    if not (same_user and same_password):
        raise _authentication_failed(given[0])


def _credentials(headers: Headers, values: Mapping[str, str]) -> tuple[str, str] | None:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user or "default", password
    if "user" in values or "password" in values:
        return values.get("user", "default"), values.get("password", "")
    return None


def _authentication_failed(user: str) -> ClickHouseError:
    return clickhouse_error(
        AUTHENTICATION_FAILED,
        f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
    )


class MissingCredentialsError(ClickHouseError):
    """The request names no user: answered with 401, so that a browser or curl asks for one."""

    def __init__(self, user: str) -> None:
        super().__init__(AUTHENTICATION_FAILED[0], _authentication_failed(user).text)

    @property
    def status(self) -> int:
        """Returns 401 instead of 403."""
        return 401
