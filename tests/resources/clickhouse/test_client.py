"""Statements on a real engine: tagged, bound, retried, counted; staging tables and partition swaps."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import zstandard
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError
from hypothesis import given
from hypothesis import strategies as st
from tenacity import wait_none

from analytics_pipeline.config import AccessRefused, NotConfigured, Settings
from analytics_pipeline.resources.clickhouse import connection
from analytics_pipeline.resources.clickhouse import errors as module
from analytics_pipeline.resources.clickhouse.accounting import Cost, Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse, LostRows
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.errors import TRANSIENT_CODES, error_code, is_transient
from analytics_pipeline.resources.clickhouse.limits import listed, one_of
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.deadline import Deadline, TimeLimitReached
from tests.resources.proxy import peer
from tests.thorough import on_engines

FEW = on_engines(15)
HOSTILE = ["it's", '"', "`", "\\", "\\'", "--", "/*", "'; DROP TABLE days; --", "{a:String}", "%(a)s", "é\x00\n\t", ""]


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (Tag("identities", "load"), "analytics_pipeline:identities:load"),
        (Tag("identities", "load", 0, 0, ""), "analytics_pipeline:identities:load:org_0:project_0:run_"),
        (Tag("segments", "count", 1, 2, "abc"), "analytics_pipeline:segments:count:org_1:project_2:run_abc"),
        (Tag("segments", "count", project_id=2), "analytics_pipeline:segments:count:project_2"),
    ],
)
def test_tag__as_text__names_the_parts_that_apply(tag: Tag, text: str) -> None:
    assert str(tag) == text


def test_statements__of_every_kind__reach_the_query_log_with_their_tag(clickhouse: ClickHouse) -> None:
    run = clickhouse.tag.run_id
    clickhouse.tagged("a").execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    clickhouse.tagged("b", organisation_id=1).insert_rows("t", ["a"], [[1]])
    clickhouse.tagged("c", project_id=2).insert_stream("t", ["a"], lambda: _body(b"2\n"), fmt="TabSeparated")
    clickhouse.tagged("d", organisation_id=1, project_id=2).query("SELECT a FROM t")

    assert _logged(clickhouse, "QueryFinish") == {
        f"analytics_pipeline:tests:a:run_{run}": ["CREATE"],
        # The driver asks for the columns' types first.
        f"analytics_pipeline:tests:b:org_1:run_{run}": ["DESCRIBE", "INSERT"],
        f"analytics_pipeline:tests:c:project_2:run_{run}": ["INSERT"],
        f"analytics_pipeline:tests:d:org_1:project_2:run_{run}": ["SELECT"],
    }


def _logged(clickhouse: ClickHouse, kind: str) -> dict[str, list[str]]:
    clickhouse.tagged("flush").execute("SYSTEM FLUSH LOGS")
    rows = clickhouse.tagged("look").query(
        "SELECT log_comment, arraySort(groupArray(upper(splitByChar(' ', query)[1]))) FROM system.query_log"
        " WHERE endsWith(log_comment, {run:String}) AND type = {kind:String} AND NOT match(log_comment, ':flush|:look')"
        # The embedded server's own.
        " AND NOT startsWith(query, 'SET ')"
        " GROUP BY log_comment",
        run=f"run_{clickhouse.tag.run_id}",
        kind=kind,
    )
    return dict(rows)


def test_query__hostile_parameters__come_back_as_they_were(clickhouse: ClickHouse) -> None:
    day = date(2026, 1, 1)

    rows = clickhouse.query(
        "SELECT {a:Array(String)}, {b:String}, {c:Nullable(String)}, {d:Date}, {e:Int64}",
        a=HOSTILE,
        b="".join(HOSTILE),
        c=None,
        d=day,
        e=-(2**63),
    )

    assert rows == [(HOSTILE, "".join(HOSTILE), None, day, -(2**63))]


def test_query__more_parameters_than_a_url_takes__are_bound(clickhouse: ClickHouse) -> None:
    """Together they are 1.5 MB; a single one may be 128 KiB, on a server as here."""
    parameters = {f"keys_{number}": ["k" * 98] * 1_000 for number in range(15)}
    counted = " + ".join(f"length({{{name}:Array(String)}})" for name in parameters)

    assert clickhouse.scalar(f"SELECT {counted}", **parameters) == 15_000


def test_query_named__rows__are_dictionaries(clickhouse: ClickHouse) -> None:
    assert clickhouse.query_named("SELECT number AS a, {b:String} AS b FROM numbers(2)", b="x") == [
        {"a": 0, "b": "x"},
        {"a": 1, "b": "x"},
    ]


# The driver takes a name that begins and ends with a quote for one that is quoted already.
_NAMES = st.text(alphabet=st.sampled_from("`\\'\"n0x{}:%;-/* \n\té"), min_size=1, max_size=8).filter(
    lambda name: not re.fullmatch(r"(`|\").*\1", name, re.DOTALL)
)


@FEW
@given(column=_NAMES)
def test_quoted__any_column_name__is_created_written_and_read(clickhouse: ClickHouse, column: str) -> None:
    name = quoted(column)
    clickhouse.execute(f"CREATE OR REPLACE TABLE t ({name} String) ENGINE = MergeTree ORDER BY {name}")
    clickhouse.insert_rows("t", [column], [["row"]])
    clickhouse.insert_stream("t", [column], lambda: _body(json.dumps({column: "stream"}).encode()), fmt="JSONEachRow")

    assert clickhouse.query_named(f"SELECT {name} FROM t ORDER BY {name}") == [{column: "row"}, {column: "stream"}]


@pytest.mark.parametrize("table", ["`", "a`b\\", "sp ace", "naïve", "x; DROP TABLE y"])
def test_staging__table_with_a_hostile_name__is_copied_and_swapped(clickhouse: ClickHouse, table: str) -> None:
    clickhouse.execute(
        f"CREATE TABLE {quoted(table)} (day Date, v UInt8) ENGINE = MergeTree PARTITION BY day ORDER BY v"
    )

    with clickhouse.staging(table) as staging:
        clickhouse.insert_rows(staging, ["day", "v"], [[date(2026, 1, 1), 1]])
        clickhouse.replace_partitions(table, staging, ["20260101"])

    assert clickhouse.query(f"SELECT v FROM {quoted(table)}") == [(1,)]
    assert _tables(clickhouse) == [table]


def test_inserts__text_that_looks_like_dates__stays_text(clickhouse: ClickHouse) -> None:
    traits = {"at": "2024-01-01T10:00:00Z", "on": "2024-01-01", "n": 1}
    clickhouse.execute("CREATE TABLE t (id UInt8, traits JSON) ENGINE = MergeTree ORDER BY id")
    line = json.dumps({"id": 2, "traits": traits}).encode()

    clickhouse.insert_rows("t", ["id", "traits"], [[1, traits]])
    clickhouse.insert_stream("t", ["id", "traits"], lambda: _body(line), fmt="JSONEachRow")

    types = "dynamicType(traits.at), dynamicType(traits.on), dynamicType(traits.n)"
    assert clickhouse.query(f"SELECT id, {types}, toJSONString(traits) FROM t ORDER BY id") == [
        (number, "String", "String", "Int64", '{"at":"2024-01-01T10:00:00Z","n":1,"on":"2024-01-01"}')
        for number in (1, 2)
    ]


def test_insert_stream__zstd_body_in_pieces__every_row_arrives(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    compressed = zstandard.ZstdCompressor().compress(b"".join(b"%d\n" % number for number in range(100_000)))
    pieces = [compressed[start : start + 1000] for start in range(0, len(compressed), 1000)]

    clickhouse.insert_stream("t", ["a"], lambda: _body(*pieces), fmt="TabSeparated", compression="zstd")

    assert clickhouse.query("SELECT count(), sum(a) FROM t") == [(100_000, sum(range(100_000)))]


def test_insert_stream__body_raises__nothing_arrives_and_its_error_is_the_callers(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")

    def body() -> Generator[bytes, None, None]:
        yield b"1\n" * 10_000
        raise _Broken("the file is damaged")

    with pytest.raises(_Broken, match="the file is damaged"):
        clickhouse.insert_stream("t", ["a"], body, fmt="TabSeparated")
    assert clickhouse.scalar("SELECT count() FROM t") == 0


class _Broken(Exception):
    """A body that cannot be read to its end."""


def test_insert_rows__none__sends_nothing(clickhouse: ClickHouse) -> None:
    before = clickhouse.cost.statements

    clickhouse.insert_rows("no_such_table", ["a"], [])

    assert clickhouse.cost.statements == before


def test_cost__statements_of_every_tag__are_counted_together(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    clickhouse.tagged("fill").execute("INSERT INTO t SELECT number FROM numbers(1000)")
    clickhouse.tagged("rows").insert_rows("t", ["a"], [[1], [2]])
    clickhouse.tagged("stream").insert_stream("t", ["a"], lambda: _body(b"1\n2\n3\n"), fmt="TabSeparated")
    before = clickhouse.cost.read_rows
    clickhouse.tagged("sum").query("SELECT sum(a) FROM t")

    cost = clickhouse.cost
    assert (cost.statements, cost.written_rows, cost.written_bytes) == (5, 1005, 1005 * 8)
    assert cost.read_rows - before == 1005
    assert cost.read_bytes >= 1005 * 8
    assert cost.seconds > 0


def test_cost__numbers_as_the_server_sends_them__are_added() -> None:
    cost = Cost()
    cost.add(
        {"read_rows": "3", "read_bytes": "24", "written_rows": "1", "written_bytes": "8", "elapsed_ns": "500000000"}
    )
    cost.add({})

    assert cost == Cost(2, 3, 24, 1, 8, 0.5)


def test_staging__body_raises__table_is_dropped(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE days (day Date) ENGINE = MergeTree PARTITION BY day ORDER BY day")

    def work() -> None:
        with clickhouse.staging("days") as staging:
            raise _Broken(staging)

    with pytest.raises(_Broken, match=r"^staging_days_\d{14}_[0-9a-f]{8}$"):
        work()
    assert _tables(clickhouse) == ["days"]


def test_staging__two_at_once__are_apart(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE days (day Date) ENGINE = MergeTree PARTITION BY day ORDER BY day")

    with clickhouse.staging("days") as first, clickhouse.staging("days") as second:
        clickhouse.insert_rows(first, ["day"], [[date(2026, 1, 1)]])
        assert (clickhouse.partitions(first), clickhouse.partitions(second)) == (["20260101"], [])


def test_sweep_staging__leftovers_of_many_ages__only_the_old_go(clickhouse: ClickHouse) -> None:
    now = datetime.now(timezone.utc)
    ages = {"old": timedelta(hours=24, minutes=1), "young": timedelta(hours=23, minutes=59), "new": timedelta(0)}
    names = {age: f"staging_days_{now - since:%Y%m%d%H%M%S}_0123abcd" for age, since in ages.items()}
    others = ["days", "staging_area", "staging_days_20200101000000", "my_staging_days_20200101000000_0123abcd"]
    for name in [*names.values(), *others]:
        clickhouse.execute(f"CREATE TABLE {name} (a UInt8) ENGINE = MergeTree ORDER BY a")

    assert clickhouse.sweep_staging() == [names["old"]]

    assert _tables(clickhouse) == sorted([names["young"], names["new"], *others])


def test_sweep_staging__table_in_use__is_kept(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE days (day Date) ENGINE = MergeTree PARTITION BY day ORDER BY day")

    with clickhouse.staging("days") as staging:
        assert clickhouse.sweep_staging() == []
        assert _tables(clickhouse) == ["days", staging]


@pytest.fixture
def days(clickhouse: ClickHouse) -> ClickHouse:
    """A table partitioned by day that holds a row for each of two days."""
    clickhouse.execute("CREATE TABLE days (day Date, v String) ENGINE = MergeTree PARTITION BY day ORDER BY v")
    clickhouse.insert_rows("days", ["day", "v"], [[date(2026, 1, 1), "old"], [date(2026, 1, 2), "other"]])
    return clickhouse


def _rows(days: ClickHouse) -> list[tuple[Any, ...]]:
    return days.query("SELECT toString(day), v FROM days ORDER BY ALL")


def test_replace_partitions__three_passes__leave_the_same_rows(days: ClickHouse) -> None:
    passes = []
    for _ in range(3):
        with days.staging("days") as staging:
            days.insert_rows(staging, ["day", "v"], [[date(2026, 1, 1), "a"], [date(2026, 1, 1), "b"]])
            days.replace_partitions("days", staging, ["20260101"])
        passes.append(_rows(days))

    assert passes == [[("2026-01-01", "a"), ("2026-01-01", "b"), ("2026-01-02", "other")]] * 3


def test_replace_partitions__empty_source__empties_the_partition_alone(days: ClickHouse) -> None:
    with days.staging("days") as staging:
        days.replace_partitions("days", staging, ["20260101"])

    assert _rows(days) == [("2026-01-02", "other")]
    assert days.partitions("days") == ["20260102"]


def test_replace_partitions__staged_rows_would_stay_behind__is_refused_before_anything_is_swapped(
    days: ClickHouse,
) -> None:
    before = _rows(days)
    with days.staging("days") as staging:
        days.insert_rows(staging, ["day", "v"], [[date(2026, 1, 1), "new"], [date(2026, 1, 3), "behind"]])

        with pytest.raises(LostRows, match=r"partitions 20260103, which would not be swapped into days; it stays"):
            days.replace_partitions("days", staging, ["20260101"])
        assert _rows(days) == before

        days.replace_partitions("days", staging, ["20260101"], left_out=["20260103"])
        assert _rows(days) == [("2026-01-01", "new"), ("2026-01-02", "other")]


def test_attach_partition__rows__join_those_that_are_there(days: ClickHouse) -> None:
    with days.staging("days") as staging:
        days.insert_rows(staging, ["day", "v"], [[date(2026, 1, 1), "new"], [date(2026, 1, 3), "not attached"]])
        days.attach_partition("days", staging, "20260101")

    assert _rows(days) == [("2026-01-01", "new"), ("2026-01-01", "old"), ("2026-01-02", "other")]


@pytest.mark.parametrize(
    "partition", ["", "20260101' FROM days; DROP TABLE days; --", "a b", "ALL'", "20260101\n", "é"]
)
def test_swaps__hostile_partition_id__is_refused_before_anything_is_sent(days: ClickHouse, partition: str) -> None:
    before = days.cost.statements
    with pytest.raises(ValueError, match="is not a partition id"):
        days.replace_partitions("days", "days", ["20260101", partition])
    with pytest.raises(ValueError, match="is not a partition id"):
        days.attach_partition("days", "days", partition)

    assert days.cost.statements == before


def _clickhouse_error(kind: type[Exception], code: int, text: str = "something") -> Exception:
    return kind(f"Received ClickHouse exception, code: {code}, server response: Code: {code}. DB::Exception: {text}")


def test_is_transient__every_code__only_passing_states_are() -> None:
    transient = {code for code in range(1, 1100) if is_transient(_clickhouse_error(DatabaseError, code))}

    assert transient == TRANSIENT_CODES


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("Error Connection refused executing HTTP request"), True),
        (ConnectionResetError("reset"), True),
        (DatabaseError("no code at all"), False),
        (ValueError("a mistake of ours"), False),
        (_Broken("Code: 202. not ClickHouse's own"), False),
        (_clickhouse_error(OperationalError, 62), False),
        (_clickhouse_error(OperationalError, 209), True),
        (_clickhouse_error(DatabaseError, 241, "(total) memory limit exceeded: would use 8 GiB"), True),
        (_clickhouse_error(DatabaseError, 241, "Memory limit (total) exceeded: would use 8 GiB"), True),
        (_clickhouse_error(DatabaseError, 241, "Query memory limit exceeded: would use 8 GiB"), False),
        (_clickhouse_error(DatabaseError, 241, "User memory limit exceeded: would use 8 GiB"), False),
    ],
)
def test_is_transient__kinds_of_errors__connection_trouble_and_foreign_load_are(
    error: Exception, expected: bool
) -> None:
    assert is_transient(error) is expected


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM no_such_table", 60),
        ("SELEC 1", 62),
        ("SELECT throwIf(1)", 395),
        ("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000", 241),
        ("SELECT sleepEachRow(0.2) FROM numbers(10) SETTINGS max_execution_time = 0.1, max_block_size = 1", 159),
    ],
)
def test_query__error_of_the_statement__is_raised_at_once_with_its_code(
    clickhouse: ClickHouse, statement: str, code: int
) -> None:
    with pytest.raises(DatabaseError) as failure:
        clickhouse.tagged("failing").query(statement)

    assert (error_code(failure.value), is_transient(failure.value)) == (code, False)
    clickhouse.tagged("flush").execute("SYSTEM FLUSH LOGS")
    attempts = clickhouse.scalar(
        "SELECT uniqExact(query_id) FROM system.query_log WHERE log_comment = {tag:String}",
        tag=str(clickhouse.tagged("failing").tag),
    )
    assert attempts == 1


class _Proxy(ThreadingHTTPServer):
    """Stands before the real server; `interfere` may answer a statement with a status and headers instead of it."""

    daemon_threads = True

    def __init__(self, target: str, interfere: Callable[[str], tuple[int, Mapping[str, str]] | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = urlsplit(target)
        self.interfere = interfere


class _Forward(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._forward(b"")

    def do_POST(self) -> None:
        self._forward(_read_body(self))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: the test's output stays readable."""

    def _forward(self, body: bytes) -> None:
        statement = "".join(parse_qs(urlsplit(self.path).query).get("query", [])) + body.decode(errors="replace")
        answer = self.server.interfere(statement)
        if answer is not None:
            self._answer(answer[0], answer[1], b"Code: 202. DB::Exception: Too many simultaneous queries")
            return
        upstream = http.client.HTTPConnection(str(self.server.target.hostname), self.server.target.port or 0)
        headers = {
            k: v for k, v in self.headers.items() if k.lower() not in ("host", "transfer-encoding", "content-length")
        }
        upstream.request(self.command, self.path, body, headers)
        response = upstream.getresponse()
        content = response.read()
        kept = {k: v for k, v in response.getheaders() if k.lower().startswith(("x-clickhouse", "content-encoding"))}
        self._answer(response.status, kept, content)

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _read_body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


@contextmanager
def _behind_proxy(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    interfere: Callable[[str], tuple[int, Mapping[str, str]] | None],
    attempts: int = 3,
) -> Iterator[ClickHouse]:
    proxy = _Proxy(url, interfere)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    user, _, _ = urlsplit(url).netloc.rpartition("@")
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://{user}@127.0.0.1:{proxy.server_port}{urlsplit(url).path}")
    monkeypatch.setattr(module, "wait_exponential_jitter", lambda **_: wait_none())
    try:
        with connect(Settings.load(), Tag("tests", "retry"), attempts=attempts) as clickhouse:
            yield clickhouse
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_execute__parameters_are_long__travel_in_the_body(
    clickhouse: ClickHouse, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers, and proxies before them, take a few kilobytes of address, and of a form's field 128 KiB."""
    clickhouse.execute("CREATE TABLE words (word String) ENGINE = MergeTree ORDER BY word")
    words = [f"a word of some length {number}" for number in range(20_000)]
    array, parameters = listed("words", "String", words)
    addresses: list[int] = []
    forward = _Forward._forward

    def measured(self: _Forward, body: bytes) -> None:
        addresses.append(len(self.path))
        forward(self, body)

    monkeypatch.setattr(_Forward, "_forward", measured)
    with _behind_proxy(clickhouse_url, monkeypatch, lambda _: None) as behind:
        behind.execute(f"INSERT INTO words SELECT arrayJoin({array})", **parameters)
        within, named = one_of("word", "String", words)
        found = behind.scalar(f"SELECT count() FROM words WHERE {within}", **named)

    assert (found, behind.cost.written_rows) == (20_000, 20_000)
    assert max(len(str(part)) for part in parameters.values()) < 128 << 10
    assert max(addresses) < 4_000


def _overloaded(wanted: str, times: int) -> Callable[[str], tuple[int, Mapping[str, str]] | None]:
    """Answers 202 to the first `times` statements that contain `wanted`."""
    left = [times]

    def interfere(statement: str) -> tuple[int, Mapping[str, str]] | None:
        if wanted not in statement or not left[0]:
            return None
        left[0] -= 1
        return 503, {"X-ClickHouse-Exception-Code": "202"}

    return interfere


@pytest.mark.parametrize("refused", ["SELECT a", "CREATE TABLE", "INSERT INTO `rows`", "INSERT INTO `stream`"])
def test_retries__server_is_overloaded_twice__statement_succeeds_once(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    bodies = []

    def body() -> Generator[bytes, None, None]:
        bodies.append("opened")
        yield b"2\n"

    with _behind_proxy(clickhouse_url, monkeypatch, _overloaded(refused, 2)) as clickhouse:
        for table in ("rows", "stream"):
            clickhouse.execute(f"CREATE TABLE IF NOT EXISTS {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
        clickhouse.insert_rows("rows", ["a"], [[1]])
        clickhouse.insert_stream("stream", ["a"], body, fmt="TabSeparated")
        held = clickhouse.query("SELECT a FROM rows UNION DISTINCT SELECT a FROM stream")

    assert sorted(held) == [(1,), (2,)]
    assert len(bodies) == (3 if "stream" in refused else 1)


def test_retries__server_stays_overloaded__gives_up_with_its_error(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def interfere(statement: str) -> tuple[int, Mapping[str, str]] | None:
        if "SELECT 7" not in statement:
            return None
        asked.append(statement)
        return 503, {"X-ClickHouse-Exception-Code": "202"}

    with (
        _behind_proxy(clickhouse_url, monkeypatch, interfere, attempts=3) as clickhouse,
        pytest.raises(ClickHouseError) as failure,
    ):
        clickhouse.query("SELECT 7")

    assert (error_code(failure.value), len(asked)) == (202, 3)


def test_staging__answer_to_create_is_lost__is_made_once_and_dropped(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    def interfere(statement: str) -> tuple[int, Mapping[str, str]] | None:
        if " AS `days`" in statement and not lost:
            lost.append(statement)
            with connect(direct, Tag("tests", "lost")) as clickhouse:
                clickhouse.execute(statement)
            return 503, {"X-ClickHouse-Exception-Code": "210"}
        return None

    direct = Settings.load()
    with _behind_proxy(clickhouse_url, monkeypatch, interfere) as clickhouse:
        clickhouse.execute("CREATE TABLE days (day Date) ENGINE = MergeTree PARTITION BY day ORDER BY day")
        with clickhouse.staging("days") as staging:
            assert _tables(clickhouse) == ["days", staging]
        assert (len(lost), _tables(clickhouse)) == (1, ["days"])


def test_connect__not_configured__says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLICKHOUSE_URL", raising=False)

    with pytest.raises(NotConfigured, match="CLICKHOUSE_URL is not set"), connect(Settings.load(), Tag("f", "s")):
        pass


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((r":\d+/", ":1/"), "the server does not answer"),
        ((r":[^:@]+@", ":S3CRET@"), "the user or password is wrong"),
        ((r"//[^@]+@", "//ghost:S3CRET@"), "the user or password is wrong"),
        ((r"/\w+$", "/missing"), "the database does not exist"),
        ((r"$", "?no_such_option=S3CRET"), "the URL has an option that the client does not know"),
    ],
)
def test_connect__url_is_wrong__says_so_without_credentials(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], reason: str
) -> None:
    url = re.sub(change[0], change[1], environment["CLICKHOUSE_URL"], count=1)
    monkeypatch.setenv("CLICKHOUSE_URL", url)

    with pytest.raises(ConnectionError) as refusal, connect(Settings.load(), Tag("f", "s")):
        pass

    place = re.sub(r"//[^@]+@", "//", url.partition("?")[0])
    assert str(refusal.value) == (
        f"ClickHouse at {place}: {reason}. Check CLICKHOUSE_URL, then run: analytics-pipeline doctor"
    )
    assert refusal.value.__suppress_context__


def _http(status: bytes, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (
            _http(b"429 Too Many Requests", b"S3CRET"),
            "the server answers with HTTP status 429: it, or a proxy before it, is too busy",
            ConnectionError,
        ),
        (
            _http(b"500 Internal Server Error", b"S3CRET"),
            "the server answers with HTTP status 500: it, or a proxy before it, is too busy",
            ConnectionError,
        ),
        (
            _http(b"404 Not Found", b"<html>S3CRET"),
            "the server answers with HTTP status 404, which is not ClickHouse's",
            AccessRefused,
        ),
        (_http(b"200 OK", b"<html>S3CRET"), "what answers there is not ClickHouse", ConnectionError),
        (b"SSH-2.0-S3CRET\r\n", "what answers there is not ClickHouse", ConnectionError),
        (b"", "the server closed the connection", ConnectionError),
        (None, "the server does not answer in time", ConnectionError),
    ],
)
def test_connect__peer_is_no_clickhouse_or_busy__says_what_is_there(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str, kind: type[Exception]
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    with peer(answer) as port:
        monkeypatch.setenv("CLICKHOUSE_URL", f"http://user:S3CRET@127.0.0.1:{port}/analytics")
        with pytest.raises(ConnectionError) as refusal, connect(Settings.load(), Tag("f", "s")):
            pass

    assert type(refusal.value) is kind
    assert str(refusal.value) == (
        f"ClickHouse at http://127.0.0.1:{port}/analytics: {reason}."
        " Check CLICKHOUSE_URL, then run: analytics-pipeline doctor"
    )


def test_connect__https_on_any_port__sends_nothing_but_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("CLICKHOUSE_URL", f"https://user:S3CRET@127.0.0.1:{port}/analytics")

        def listen() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    received.append(connection.recv(4096))
                    connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        with (
            pytest.raises(ConnectionError, match="TLS failed"),
            connect(Settings.load(), Tag("f", "s")),
        ):
            pass

    tls_handshake = b"\x16"
    assert received
    assert {content[:1] for content in received} == {tls_handshake}


def test_connect__statement_takes_too_long__ends_after_the_configured_time(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_TIMEOUT_SECONDS", "1")

    with connect(Settings.load(), Tag("tests", "slow")) as clickhouse, pytest.raises(DatabaseError) as failure:
        clickhouse.query("SELECT sleepEachRow(0.3) FROM numbers(20) SETTINGS max_block_size = 1")

    timeout_exceeded = 159
    assert error_code(failure.value) == timeout_exceeded


def test_deadline__statement_takes_longer__is_stopped_by_the_server(clickhouse: ClickHouse) -> None:
    limited = clickhouse.limited(Deadline.after(0.5, "time is over"))

    with pytest.raises(TimeLimitReached, match="time is over"):
        limited.query("SELECT sleepEachRow(0.3) FROM numbers(100) SETTINGS max_block_size = 1")
    assert limited.deadline is not None
    assert limited.deadline.remaining > -10


def test_deadline__has_passed__nothing_begins_but_staging_is_dropped(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    before = _tables(clickhouse)
    limited = clickhouse.limited(Deadline.after(0.5, "time is over"))

    with limited.staging("t") as staging:
        time.sleep(0.6)
        with pytest.raises(TimeLimitReached):
            limited.insert_rows(staging, ["a"], [[1]])

    assert _tables(clickhouse) == before


def test_deadline__passes_within_a_body__insert_is_stopped(clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    limited = clickhouse.limited(Deadline.after(0.5, "time is over"))

    def body() -> Generator[bytes, None, None]:
        for _ in range(1000):
            time.sleep(0.05)
            yield b"1\n"

    with pytest.raises(TimeLimitReached, match="time is over"):
        limited.insert_stream("t", ["a"], body, fmt="TabSeparated")

    assert clickhouse.scalar("SELECT count() FROM t") == 0


def test_client__many_threads__share_it(clickhouse: ClickHouse) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(clickhouse.scalar("SELECT {n:UInt8}", n=n)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == list(range(8))


def _body(*pieces: bytes) -> Generator[bytes, None, None]:
    yield from pieces


def _tables(clickhouse: ClickHouse) -> Sequence[str]:
    rows = clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name")
    return [name for (name,) in rows]
