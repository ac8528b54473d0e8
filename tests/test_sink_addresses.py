"""The sinks as the environment names them: every mistake is told with its repair, and no secret is."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.sink_addresses import is_loopback, parse_sinks

SECRET = "S3CRET-0123456789"
TOPIC, PROJECT = "EXPORT_USAGE_DATA_TOPIC_NAME", "EXPORT_USAGE_DATA_TOPIC_PROJECT"
ARN = "arn:aws:sns:eu-west-1:123456789012:events"
HTTPS = "must look like https://host/path"
TINY = (
    "must look like pubsub://project/topic, with ?packed=1 or without;"
    " a project has 5 to 30 characters, a topic 3 to 255"
)


def _shown(text: str, **more: str) -> list[str]:
    sinks, problems = parse_sinks({"EXPORT_SINKS": text, "EXPORT_SINK_HOOK_SECRET": SECRET, **more})
    assert problems == []
    assert SECRET not in f"{sinks!r} {[*map(str, sinks)]}"
    return [str(sink) for sink in sinks]


def test_parse_sinks__each_kind__in_order_and_shown_without_secrets() -> None:
    text = (
        f"own=clickhouse:  disk=file:///var/exports\n lake=s3://bucket/prefix hook=https://host:8443/{SECRET}?k={SECRET}"
        f" topic=sns:{ARN} full=sns:{ARN}?packed=1 google=pubsub://project/topic?packed=1"
    )

    assert _shown(text) == [
        "own=clickhouse:",
        "disk=file:///var/exports",
        "lake=s3://bucket/prefix",
        "hook=https://host:8443",
        f"topic=sns:{ARN}",
        f"full=sns:{ARN}?packed=1",
        "google=pubsub://project/topic?packed=1",
    ]


def test_parse_sinks__nothing_set__there_are_none() -> None:
    assert (parse_sinks({}), parse_sinks({"EXPORT_SINKS": " \n"})) == (((), []), ((), []))


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:1", "[::1]:1"])
def test_parse_sinks__http_on_this_machine__is_allowed(host: str) -> None:
    assert _shown(f"hook=http://{host}/path") == [f"hook=http://{host}"]


def test_parse_sinks__topic_of_the_original__is_the_sink_usage() -> None:
    assert _shown("own=clickhouse:", **{TOPIC: " events ", PROJECT: "project"}) == [
        "own=clickhouse:",
        "usage=pubsub://project/events",
    ]


@pytest.mark.parametrize(("missing", "other"), [(TOPIC, PROJECT), (PROJECT, TOPIC)])
def test_parse_sinks__half_of_a_topic__names_the_other_half(missing: str, other: str) -> None:
    reason = f"must be set when {other} is: together they are the Pub/Sub sink usage"

    assert parse_sinks({other: "value"}) == ((), [(missing, reason)])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (f"https://host/?token={SECRET}", "sink 1 must be NAME=URL, with a name of at most 40 of"),
        (f"{SECRET}", "sink 1 must be NAME=URL"),
        (f"Hook={SECRET}", "sink 1 must be NAME=URL"),
        ("hook=", "sink 1 (hook) must have an address like clickhouse: or"),
        (f"hook=ftp://{SECRET}@host", "sink 1 (hook) must have an address like clickhouse: or"),
        (f"hook=https://[::1/{SECRET}", "sink 1 (hook) has an address that is not a URL"),
        (f"hook=https://host:{SECRET}/", "sink 1 (hook) has an address that is not a URL"),
        ("hook=https:///path", f"sink 1 (hook) {HTTPS}"),
        (f"hook=https://host/#{SECRET}", f"sink 1 (hook) {HTTPS}"),
        (f"hook=https://user:{SECRET}@host/", "sink 1 (hook) must not hold a user or password"),
        ("hook=http://example.com/", "sink 1 (hook) must begin with https://"),
        ("hook=http://localhost.example.com/", "sink 1 (hook) must begin with https://"),
        ("own=clickhouse://host/db", "sink 1 (own) must be clickhouse: alone"),
        ("disk=file://host/dir", "sink 1 (disk) must look like file:///absolute/directory or s3://bucket/prefix"),
        (f"lake=s3://key:{SECRET}@bucket", "sink 1 (lake) must look like file:///absolute/directory or s3"),
        (f"topic=sns:{ARN}.fifo", "sink 1 (topic) is a FIFO topic"),
        (f"topic=sns:{ARN}?packed=2", "sink 1 (topic) must look like sns:arn:aws:sns:eu-west-1:123456789012:topic"),
        ("topic=sns:events", "sink 1 (topic) must look like sns:arn"),
        ("google=pubsub://project", "sink 1 (google) must look like pubsub://project/topic"),
        ("google=pubsub://tiny/topic", f"sink 1 (google) {TINY}"),
        ("disk=file:relative", "sink 1 (disk) must name a directory from the root on: file:///absolute/directory"),
        ("bucket=s3:bucket/prefix", "sink 1 (bucket) must name a bucket: s3://bucket/prefix"),
        ("bucket=s3://", "sink 1 (bucket) must name a bucket: s3://bucket/prefix"),
        ("google=pubsub://project/topic/more", "sink 1 (google) must look like pubsub://project/topic"),
    ],
)
def test_parse_sinks__mistake__is_told_with_its_repair_and_without_the_address(entry: str, reason: str) -> None:
    sinks, problems = parse_sinks({"EXPORT_SINKS": entry, "EXPORT_SINK_HOOK_SECRET": SECRET})

    assert sinks == ()
    ((variable, told),) = problems
    assert (variable, told[: len(reason)]) == ("EXPORT_SINKS", reason)
    assert SECRET not in told


def test_parse_sinks__many_mistakes__all_are_told_at_once() -> None:
    _, problems = parse_sinks({"EXPORT_SINKS": "a=b own=clickhouse: c", PROJECT: "project"})

    assert [(variable, told[:6]) for variable, told in problems] == [
        ("EXPORT_SINKS", "sink 1"),
        ("EXPORT_SINKS", "sink 3"),
        (TOPIC, "must b"),
    ]


def test_parse_sinks__names_or_addresses_twice__are_told() -> None:
    _, names = parse_sinks({"EXPORT_SINKS": "a=clickhouse: a=file:///x", "A": ""})
    _, topics = parse_sinks({"EXPORT_SINKS": "usage=clickhouse:", TOPIC: "topic", PROJECT: "project"})
    _, places = parse_sinks({"EXPORT_SINKS": "a=clickhouse: b=clickhouse:"})

    assert names == [("EXPORT_SINKS", "names the sink a twice: give each a name of its own")]
    assert topics == [
        ("EXPORT_SINKS", f"names the sink usage twice, which is what {TOPIC} makes: give each a name of its own")
    ]
    assert places == [
        ("EXPORT_SINKS", "sends to one address as a and b: each record would arrive twice, so remove one")
    ]


def test_parse_sinks__key_of_an_http_sink__has_to_be_there_and_long() -> None:
    told = {}
    for key in ("", "short"):
        _, told[key] = parse_sinks({"EXPORT_SINKS": "hook=https://host/", "EXPORT_SINK_HOOK_SECRET": key})

    assert told == {
        "": [("EXPORT_SINK_HOOK_SECRET", "must be set: it signs what goes to the sink hook")],
        "short": [("EXPORT_SINK_HOOK_SECRET", "must have at least 16 characters: openssl rand -hex 32")],
    }


_MARKED = st.text(string.ascii_letters + string.digits + "=:/?#@[]%&. ", max_size=20)


@given(_MARKED, _MARKED, st.sampled_from(["", "hook=", "hook=https://", "hook=https://u:", "x=sns:", "lake=s3://a:"]))
def test_parse_sinks__any_text__no_part_of_a_secret_is_shown(before: str, after: str, start: str) -> None:
    text = f"{start}{before}{SECRET}{after}"
    sinks, problems = parse_sinks({"EXPORT_SINKS": text, "EXPORT_SINK_HOOK_SECRET": SECRET})

    shown = [str(sink) for sink in sinks if sink.parts.scheme in ("https", "http") and SECRET not in sink.parts.netloc]
    assert SECRET not in f"{problems} {sinks!r} {shown}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("example.com", False)],
)
def test_is_loopback__host_as_written__is_judged(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
