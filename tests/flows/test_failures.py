"""What a failed unit says: what happened, on one line, with what to do about it and without secrets."""

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from analytics_pipeline.config import AccessRefused
from analytics_pipeline.flows.failures import Failure, PartialFailure, passes, reason_and_place, reason_of
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.deadline import TimeLimitReached
from analytics_pipeline.resources.landing_units import CorruptUnit
from analytics_pipeline.resources.postgres import LeaseLost, postgres
from analytics_pipeline.resources.sessions import MomentLost
from tests.product import Product


def test_partial_failure__few__lists_each_with_the_repair() -> None:
    failures = [Failure("environment 1", "gone"), Failure("environment 2", "broken")]

    error = PartialFailure("Load of identities", failures, done=3, repair="materialise it again")

    assert str(error).splitlines() == [
        "Load of identities: 2 failed and kept what they had before, 3 were done.",
        "  environment 1: gone",
        "  environment 2: broken",
        "Repair: materialise it again",
    ]
    assert (error.failures, error.repair) == (failures, "materialise it again")


@pytest.mark.parametrize(("count", "more"), [(20, []), (21, ["  … and 1 more"]), (2000, ["  … and 1980 more"])])
def test_partial_failure__many__lists_twenty(count: int, more: list[str]) -> None:
    failures = [Failure(f"environment {number}", "gone") for number in range(count)]

    lines = str(PartialFailure("Load", failures, 0, "again")).splitlines()

    assert lines[1:21] == [f"  environment {number}: gone" for number in range(20)]
    assert lines[21:] == [*more, "Repair: again"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CorruptUnit("unit/a differs. Recapture it."), "unit/a differs. Recapture it."),
        (ConnectionError("Postgres at postgresql://h/db: no answer."), "Postgres at postgresql://h/db: no answer."),
        (ValueError("a mistake"), "ValueError: a mistake"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (OSError("x" * 400), f"OSError: {'x' * 300} …"),
        (OSError("x" * 300), f"OSError: {'x' * 300}"),
        (RuntimeError(), "RuntimeError: "),
    ],
)
def test_reason_of__error__is_one_readable_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (CorruptUnit("unit/a differs."), False),
        (ValueError("a mistake"), False),
        (AccessRefused("the password is wrong"), False),
        (ConnectionError("no answer"), True),
        (EndpointConnectionError(endpoint_url="http://x"), True),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "Query"), False),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "Query"), True),
        (
            ClientError({"Error": {"Code": "Internal"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "Query"),  # type: ignore[typeddict-item]
            True,
        ),
        (OperationalError("connection reset"), True),
        (DatabaseError("Code: 202. DB::Exception: too many"), True),
        (DatabaseError("Code: 497. DB::Exception: no"), False),
        (psycopg.OperationalError("the connection is closed"), True),
        (psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"), True),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), False),
        (MomentLost("ended"), True),
        (psycopg.errors.UndefinedTable("no"), False),
        (LeaseLost("lost"), True),
        (TimeLimitReached("over"), False),
        (PartialFailure("Load", [Failure("a", "gone"), Failure("b", "busy", passes=True)], 0, "again"), True),
        (PartialFailure("Load", [Failure("a", "gone")], 0, "again"), False),
    ],
)
def test_passes__error__only_what_is_known_to_pass(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_reason_of__postgres_lacks_a_table_of_ours__says_to_migrate(empty_product: Product) -> None:
    assert _reason_of_query(empty_product, "SELECT 1 FROM analytics_pipeline.no_such_table") == (
        'Postgres: relation "analytics_pipeline.no_such_table" does not exist. Run: analytics-pipeline migrate all'
    )


def test_reason_of__postgres_lacks_a_column_of_the_source__says_to_ask_the_doctor(empty_product: Product) -> None:
    assert _reason_of_query(empty_product, "SELECT no_such_column FROM projects") == (
        'Postgres: column "no_such_column" does not exist.'
        " Run: analytics-pipeline doctor (it lists what the source lacks)"
    )


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT 'S3CRET'::integer", 'Postgres: invalid input syntax for type integer: "…"'),
        (
            "CREATE TABLE t (a text UNIQUE); INSERT INTO t VALUES ('S3CRET'), ('S3CRET')",
            'Postgres: duplicate key value violates unique constraint "…"',
        ),
        (
            "SET statement_timeout = 50; SELECT pg_sleep(5), 'S3CRET'",
            "Postgres: canceling statement due to statement timeout. No statement of ours may keep its locks longer"
            " than COPY_LOCK_SECONDS. It changed nothing; an index may help, or a higher value",
        ),
        (
            "SELECT 'S3CRET', pg_terminate_backend(pg_backend_pid())",
            "Postgres: terminating connection due to administrator command. Somebody ended the session, or stops the"
            " server. Run it again",
        ),
        ("SELEC 'S3CRET'", 'Postgres: syntax error at or near "SELEC"'),
    ],
)
def test_reason_of__postgres_refuses__shows_neither_row_nor_statement(
    empty_product: Product, statement: str, reason: str
) -> None:
    with pytest.raises(psycopg.Error) as failure:
        empty_product.execute(statement)

    assert reason_of(failure.value) == reason


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT toUInt8('S3CRET')",
        "SELECT throwIf(1, 'no way') WHERE 'S3CRET \\\\' S3CRET' != ''",
        "SELECT * FROM format(JSONEachRow, 'a UInt8', '{\"a\": \"S3CRET\"}')",
    ],
)
def test_reason_of__clickhouse_refuses__shows_no_value(empty_product: Product, statement: str) -> None:
    with pytest.raises(DatabaseError, match="Code: ") as failure:
        empty_product.clickhouse.query(statement)

    assert reason_of(failure.value).startswith("ClickHouse error ")
    assert "S3CRET" not in reason_of(failure.value)


def test_reason_of__error_with_an_address__shows_no_credentials() -> None:
    error = RuntimeError("cannot open https://me:S3@CRET@example.com/path of postgresql://u:S3CRET@h/db")

    assert reason_of(error) == "RuntimeError: cannot open https://…@example.com/path of postgresql://…@h/db"


def _reason_of_query(product: Product, statement: str) -> str:
    with pytest.raises(Exception, match="does not exist") as failure:
        product.execute(statement)
    return reason_of(failure.value)


@pytest.mark.parametrize(
    ("statement", "begin", "end"),
    [
        ("SELECT 1 FROM no_such_table", "ClickHouse lacks a table or column (DatabaseError: ", "migrate all"),
        ("SELECT throwIf(1, 'no\nway')", "ClickHouse error 395: no way", ""),
        ("SELEC 1", "ClickHouse error 62: Syntax error: failed at position 1", ""),
    ],
)
def test_reason_of__clickhouse_refuses__names_its_code_on_one_line(
    empty_product: Product, statement: str, begin: str, end: str
) -> None:
    with pytest.raises(Exception, match="Code: ") as failure:
        empty_product.clickhouse.query(statement)

    reason = reason_of(failure.value)
    assert reason.startswith(begin)
    assert reason.endswith(end)
    assert "\n" not in reason


def test_reason_of__stores_do_not_answer__shows_no_credentials(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", "http://user:S3CRET@127.0.0.1:1/analytics")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:S3CRET@127.0.0.1:1/product")
    broken = type(empty_product.settings).load()
    reasons = []
    with pytest.raises(ConnectionError) as failure, connect(broken, Tag("tests", "broken")):
        pass
    reasons.append(reason_of(failure.value))
    with pytest.raises(ConnectionError) as failure:
        postgres(broken).query("SELECT 1")
    reasons.append(reason_of(failure.value))

    assert reasons == [
        "ClickHouse at http://127.0.0.1:1/analytics: the server does not answer."
        " Check CLICKHOUSE_URL, then run: analytics-pipeline doctor",
        "Postgres at postgresql://127.0.0.1:1/product: the server does not answer."
        " Check DATABASE_URL, then run: analytics-pipeline doctor",
    ]


def test_reason_of__aws_refuses_or_does_not_answer__says_to_check_its_environment(empty_product: Product) -> None:
    once = Config(retries={"max_attempts": 0})
    with pytest.raises(ClientError) as refused:
        boto3.client("dynamodb").describe_table(TableName="no-such-table")
    with pytest.raises(EndpointConnectionError) as silent:
        boto3.client("dynamodb", endpoint_url="http://127.0.0.1:1", config=once).list_tables()

    advice = ". Check the AWS environment, then run: analytics-pipeline doctor"
    assert reason_of(refused.value).startswith("AWS: ResourceNotFoundException: ")
    assert reason_of(refused.value).endswith(advice)
    assert reason_of(silent.value) == (
        f'AWS: EndpointConnectionError: Could not connect to the endpoint URL: "http://127.0.0.1:1/"{advice}'
    )


def test_reason_and_place__value_in_the_text_of_a_store__is_not_told() -> None:
    value = "@".join(("jane", "example.com"))  # not as it stands in a line of the stack

    def read() -> None:
        raise psycopg.DataError(f'invalid input syntax for type bigint: "{value}"')

    with pytest.raises(psycopg.DataError) as refusal:
        read()
    told = reason_and_place(refusal.value)

    assert told.startswith('Postgres: invalid input syntax for type bigint: "…"\n')
    assert "in read\n" in told
    assert value not in told
