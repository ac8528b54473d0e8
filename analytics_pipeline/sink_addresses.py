"""The sinks of the usage export as the environment names them: validated, and never shown with what is secret."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from analytics_pipeline.addresses import landing_url

SINKS, TOPIC, PROJECT = "EXPORT_SINKS", "EXPORT_USAGE_DATA_TOPIC_NAME", "EXPORT_USAGE_DATA_TOPIC_PROJECT"
# The sink of the two variables of a topic.
USAGE = "usage"
_NAME = r"[a-z][a-z0-9_]{0,39}"
_SECRET_CHARACTERS = 16
_PACKING = ("", "packed=1")
_FORMS = (
    "clickhouse: or file:///directory or s3://bucket/prefix or https://host/path or sns:arn:… or pubsub://project/topic"
)
Problems = list[tuple[str, str]]


@dataclass(frozen=True)
class SinkAddress:
    """A sink's name, as in `EXPORT_SINKS`, its URL, and the key that signs what is sent, where there is one."""

    name: str
    url: SecretStr
    secret: SecretStr | None = None

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url.get_secret_value())

    @property
    def is_packed(self) -> bool:
        """Whether a message holds as many records as the broker allows."""
        return self.parts.query == _PACKING[1]

    def __str__(self) -> str:
        """The name and the place: the path and the query of an HTTP receiver may be its password."""
        parts = self.parts
        place = f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("https", "http") else parts.geturl()
        return f"{self.name}={place}"


def secret_variable(name: str) -> str:
    """The variable that holds the sink's key."""
    return f"EXPORT_SINK_{name.upper()}_SECRET"


def parse_sinks(environment: Mapping[str, str]) -> tuple[tuple[SinkAddress, ...], Problems]:
    """The sinks in the order of `EXPORT_SINKS`, and each mistake as `(variable, what is wrong and how to repair it)`.

    A mistake is told by its place in the list: what cannot be read as a name may be part of a secret.
    """
    problems: Problems = []
    found = []
    for position, entry in enumerate(environment.get(SINKS, "").split(), 1):
        try:
            found.append(_sink(entry, environment))
        except ValueError as error:
            problems.append((SINKS, f"sink {position} {error}"))
    found += _topic_sink(environment, problems)
    problems += _repeats(found)
    problems += [problem for sink in found for problem in _secret_problems(sink)]
    return tuple(found), problems


def _sink(entry: str, environment: Mapping[str, str]) -> SinkAddress:
    name, separator, url = entry.partition("=")
    if not separator or not re.fullmatch(_NAME, name):
        raise ValueError("must be NAME=URL, with a name of at most 40 of a-z, 0-9 and _ that begins with a letter")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"({name}) has an address that is not a URL") from None
    check = _CHECKS.get(parts.scheme)
    if check is None:
        raise ValueError(f"({name}) must have an address like {_FORMS}")
    if wrong := check(parts):
        raise ValueError(f"({name}) {wrong}")
    return _with_secret(name, url, environment)


def _with_secret(name: str, url: str, environment: Mapping[str, str]) -> SinkAddress:
    secret = environment.get(secret_variable(name), "").strip()
    return SinkAddress(name, SecretStr(url), SecretStr(secret) if secret else None)


def _topic_sink(environment: Mapping[str, str], problems: Problems) -> Iterator[SinkAddress]:
    topic, project = (environment.get(variable, "").strip() for variable in (TOPIC, PROJECT))
    if not topic and not project:
        return
    if not topic or not project:
        missing, other = (TOPIC, PROJECT) if project else (PROJECT, TOPIC)
        problems.append((missing, f"must be set when {other} is: together they are the Pub/Sub sink {USAGE}"))
    elif wrong := _pubsub(urlsplit(f"pubsub://{project}/{topic}")):
        problems.append((TOPIC, f"and {PROJECT}: the sink {wrong}"))
    else:
        yield SinkAddress(USAGE, SecretStr(f"pubsub://{project}/{topic}"))


def _repeats(sinks: list[SinkAddress]) -> Iterator[tuple[str, str]]:
    names, urls = [sink.name for sink in sinks], [sink.url.get_secret_value() for sink in sinks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        told = f", which is what {TOPIC} makes" if name == USAGE else ""
        yield SINKS, f"names the sink {name} twice{told}: give each a name of its own"
    for url in sorted({url for url in urls if urls.count(url) > 1}):
        same = [name for name, other in zip(names, urls, strict=True) if other == url]
        yield SINKS, f"sends to one address as {' and '.join(same)}: each record would arrive twice, so remove one"


def _secret_problems(sink: SinkAddress) -> Iterator[tuple[str, str]]:
    if sink.parts.scheme not in ("https", "http"):
        return
    if sink.secret is None:
        yield secret_variable(sink.name), f"must be set: it signs what goes to the sink {sink.name}"
    elif len(sink.secret.get_secret_value()) < _SECRET_CHARACTERS:
        yield secret_variable(sink.name), f"must have at least {_SECRET_CHARACTERS} characters: openssl rand -hex 32"


def is_loopback(host: str) -> bool:
    """Whether the host is written as this machine itself; a name that leads here is not meant."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _clickhouse(parts: SplitResult) -> str:
    return "" if parts.geturl() == "clickhouse:" else "must be clickhouse: alone: it is the database of CLICKHOUSE_URL"


def _objects(parts: SplitResult) -> str:
    if parts.scheme == "s3" and not parts.netloc:
        return "must name a bucket: s3://bucket/prefix"
    if parts.scheme == "file" and not parts.path.startswith("/"):
        return "must name a directory from the root on: file:///absolute/directory"
    try:
        landing_url(parts.geturl())
    except ValueError as error:
        return str(error)
    return ""


def _http(parts: SplitResult) -> str:
    if not parts.hostname or parts.fragment:
        return "must look like https://host/path"
    if "@" in parts.netloc:
        return "must not hold a user or password: what is sent is signed with EXPORT_SINK_<NAME>_SECRET"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return "must begin with https://: http:// is for this machine alone"
    return ""


def _sns(parts: SplitResult) -> str:
    if parts.path.endswith(".fifo"):
        return "is a FIFO topic, and no order is kept here: make a standard topic"
    is_topic = re.fullmatch(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}", parts.path, re.ASCII)
    if not is_topic or parts.netloc or parts.query not in _PACKING:
        return "must look like sns:arn:aws:sns:eu-west-1:123456789012:topic, with ?packed=1 or without"
    return ""


def _pubsub(parts: SplitResult) -> str:
    is_project = re.fullmatch(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,29}", parts.netloc)
    is_topic = re.fullmatch(r"/[A-Za-z][\w.~+%-]{2,254}", parts.path, re.ASCII)
    if not is_project or not is_topic or parts.query not in _PACKING:
        return (
            "must look like pubsub://project/topic, with ?packed=1 or without;"
            " a project has 5 to 30 characters, a topic 3 to 255"
        )
    return ""


_CHECKS: Mapping[str, Callable[[SplitResult], str]] = {
    "clickhouse": _clickhouse,
    "file": _objects,
    "s3": _objects,
    "https": _http,
    "http": _http,
    "sns": _sns,
    "pubsub": _pubsub,
}
