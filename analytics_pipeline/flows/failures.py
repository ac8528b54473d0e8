"""Failures of some units of a flow's work, while the others were done."""

import re
import traceback
from dataclasses import dataclass

import obstore.exceptions
import psycopg
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as AwsUnreachable
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.config import AccessRefused
from analytics_pipeline.errors import Passing
from analytics_pipeline.resources.clickhouse.errors import MISSING_IN_SCHEMA, error_code, is_transient, trouble
from analytics_pipeline.resources.postgres import SCHEMA

_LONGEST_REASON = 300
# In what stores say, values are in quotes; the user and password of an address end with its last @.
_QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1).)*\1""", re.DOTALL)
_CREDENTIALS = re.compile(r"([A-Za-z][\w+.-]*://)\S*@")


# AWS asks for patience with these; its own errors (5xx) pass as well.
_THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException"}
)


_PASSING = (
    Passing,
    AwsUnreachable,
    HTTPClientError,
    psycopg.OperationalError,
    obstore.exceptions.GenericError,
)


@dataclass(frozen=True)
class Failure:
    """One unit that failed, e.g. an environment, and why. `reason` shows no secrets; `passes`: by itself."""

    unit: str
    reason: str
    passes: bool = False

    @classmethod
    def of(cls, unit: str, error: Exception) -> "Failure":
        return cls(unit, reason_of(error), passes(error))


class PartialFailure(Exception):
    """Some units failed. Each kept what it had before; the others were completed.

    `failures` lists them, `repair` is the command that does only what is missing.
    """

    def __init__(self, what: str, failures: list[Failure], done: int, repair: str) -> None:
        self.failures = failures
        self.repair = repair
        lines = [f"  {failure.unit}: {failure.reason}" for failure in failures[:20]]
        more = [f"  … and {len(failures) - 20} more"] if len(failures) > 20 else []
        super().__init__(
            "\n".join(
                [
                    f"{what}: {len(failures)} failed and kept what they had before, {done} were done.",
                    *lines,
                    *more,
                    f"Repair: {repair}",
                ]
            )
        )


def passes(error: BaseException) -> bool:
    """Whether the trouble is one that passes by itself. What nobody knows to pass does not."""
    if isinstance(error, PartialFailure):
        return any(failure.passes for failure in error.failures)
    if isinstance(error, AccessRefused | psycopg.errors.QueryCanceled):
        return False
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error.response["Error"]["Code"] in _THROTTLED
    return isinstance(error, _PASSING) or is_transient(error)


def reason_of(error: Exception) -> str:
    """The failure and its repair, in an operator's words."""
    if type(error).__module__.startswith("analytics_pipeline.") or type(error) is ConnectionError:
        return str(error)
    if isinstance(error, psycopg.Error):
        return _reason_of_postgres(error)
    if isinstance(error, ClickHouseError):
        return _reason_of_clickhouse(error)
    if isinstance(error, obstore.exceptions.BaseError):
        return f"Landing zone: {_line(error)}. Check LANDING_URL, then run: analytics-pipeline doctor"
    if isinstance(error, BotoCoreError | ClientError):
        return f"AWS: {_line(error)}. Check the AWS environment, then run: analytics-pipeline doctor"
    return _line(error)


def reason_and_place(error: Exception) -> str:
    """For a log: `reason_of` and where it was raised, without what stores say, which may hold values of rows."""
    return f"{reason_of(error)}\n{''.join(traceback.format_tb(error.__traceback__))}"


# The meaning of Postgres's error classes, in an operator's words.
_REPAIRS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (
        psycopg.errors.QueryCanceled,
        "No statement of ours may keep its locks longer than COPY_LOCK_SECONDS. It changed nothing; an index may help,"
        " or a higher value",
    ),
    (
        psycopg.errors.LockNotAvailable,
        "Somebody alters or locks what was to be read, and it was left to them. Run it again when they have ended",
    ),
    (psycopg.errors.DeadlockDetected, "It changed nothing. Run it again"),
    (psycopg.errors.AdminShutdown, "Somebody ended the session, or stops the server. Run it again"),
    (psycopg.errors.InsufficientPrivilege, "Run: analytics-pipeline doctor (it lists what the user may not read)"),
)


def _reason_of_postgres(error: psycopg.Error) -> str:
    # Its detail, hint and context show rows and statements; so does the text of who made the error himself.
    told = error.diag.message_primary or str(error).partition("\n")[0]
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        told = _QUOTED.sub(r"\1…\1", told)
    told = f"Postgres: {_shortened(told)}"
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        repair = "migrate all" if SCHEMA in str(error) else "doctor (it lists what the source lacks)"
        return f"{told}. Run: analytics-pipeline {repair}"
    return next((f"{told}. {repair}" for kind, repair in _REPAIRS if isinstance(error, kind)), told)


def _reason_of_clickhouse(error: ClickHouseError) -> str:
    code = error_code(error)
    if code is None:
        return f"ClickHouse: {trouble(error)} ({type(error).__name__}). Run: analytics-pipeline doctor"
    if code in MISSING_IN_SCHEMA:
        return f"ClickHouse lacks a table or column ({_line(error)}). Run: analytics-pipeline migrate all"
    # The value that could not be read or converted, and the statement around it.
    message = _QUOTED.sub(r"\1…\1", str(error).rpartition("DB::Exception: ")[2])
    return f"ClickHouse error {code}: {_shortened(message)}"


def _line(error: Exception) -> str:
    # The landing zone's client appends the request as its program sees it.
    return f"{type(error).__name__}: {_shortened(str(error).partition('Debug source:')[0])}"


def _shortened(text: str) -> str:
    line = _CREDENTIALS.sub(r"\1…@", " ".join(text.split()))
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]} …"
