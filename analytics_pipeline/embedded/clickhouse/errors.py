"""ClickHouse errors: their codes, the HTTP statuses that go with them, the text that a client parses."""

import re

BAD_ARGUMENTS = (36, "BAD_ARGUMENTS")
NOT_IMPLEMENTED = (48, "NOT_IMPLEMENTED")
SYNTAX_ERROR = (62, "SYNTAX_ERROR")
UNKNOWN_SETTING = (115, "UNKNOWN_SETTING")
TIMEOUT_EXCEEDED = (159, "TIMEOUT_EXCEEDED")
SOCKET_TIMEOUT = (209, "SOCKET_TIMEOUT")
QUERY_IS_TOO_LARGE = (223, "QUERY_IS_TOO_LARGE")
READONLY = (164, "READONLY")
TOO_MANY_SIMULTANEOUS_QUERIES = (202, "TOO_MANY_SIMULTANEOUS_QUERIES")
QUERY_ID_IN_USE = (216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
ABORTED = (236, "ABORTED")
CANNOT_DECOMPRESS = (271, "CANNOT_DECOMPRESS")
SESSION_NOT_FOUND = (372, "SESSION_NOT_FOUND")
SESSION_IS_LOCKED = (373, "SESSION_IS_LOCKED")
INVALID_SESSION_TIMEOUT = (374, "INVALID_SESSION_TIMEOUT")
QUERY_WAS_CANCELLED = (394, "QUERY_WAS_CANCELLED")
UNKNOWN_ROLE = (511, "UNKNOWN_ROLE")
AUTHENTICATION_FAILED = (516, "AUTHENTICATION_FAILED")
POCO_EXCEPTION = (1000, "POCO_EXCEPTION")
UNKNOWN_EXCEPTION = (1002, "UNKNOWN_EXCEPTION")

# The pairs of ClickHouse's exceptionCodeToHTTPStatus that this server can meet; every other code is a 500.
_STATUS_BY_CODE = {
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 43, 44, 50, 53, 62, 69, 72, 117, 168, 321, 427, 675, 676), 400),
    **dict.fromkeys((46, 47, 60, 63, 73, 78, 81, 115, 511), 404),
    48: 501,
    159: 408,
    202: 503,
    209: 503,
    223: 413,
    236: 503,
    373: 423,
    516: 403,
}
_ENGINE_ERROR = re.compile(r"Code: (\d+)\. (DB::Exception: .*)", re.DOTALL)


class ClickHouseError(Exception):
    """A failure as ClickHouse reports it: a code and a text that names the error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """Returns the HTTP status that ClickHouse answers with."""
        return _STATUS_BY_CODE.get(self.code, 500)

    def __str__(self) -> str:
        return f"Code: {self.code}. {self.text}"


class ClientGoneError(Exception):
    """The client closed the connection, or the server is stopping: nobody waits for the answer."""


def clickhouse_error(kind: tuple[int, str], message: str) -> ClickHouseError:
    """Returns an error of this server's own in ClickHouse's wording."""
    code, name = kind
    return ClickHouseError(code, f"DB::Exception: {message} ({name})")


def as_clickhouse_error(error: BaseException) -> ClickHouseError:
    """Returns what the engine said, without chDB's prefixes; anything else is an unknown exception."""
    if isinstance(error, ClickHouseError):
        return error
    if isinstance(error, UnicodeEncodeError):
        return clickhouse_error(BAD_ARGUMENTS, "A parameter, a setting or a database is not valid UTF-8")
    # The engine quotes the statement, and chDB fails to decode the quotation when it is not valid UTF-8.
    quoted = error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
    found = _ENGINE_ERROR.search(quoted)
    if found:
        return ClickHouseError(int(found[1]), found[2].strip())
    return clickhouse_error(UNKNOWN_EXCEPTION, f"{type(error).__name__}: {error}")
