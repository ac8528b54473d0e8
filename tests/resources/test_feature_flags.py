"""Flags: the narrower scope wins, an unknown flag is off, and a provider that fails is not an answer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from psycopg.rows import TupleRow
from typing_extensions import LiteralString

from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.resources import feature_flags as module
from analytics_pipeline.resources.feature_flags import FlagsUnavailable, feature_flags, is_enabled
from analytics_pipeline.resources.patience import Patience
from analytics_pipeline.resources.postgres import Postgres, postgres

FLAG = "segment_membership_inspection"


@pytest.fixture(autouse=True)
def _no_provider_is_left() -> Iterator[None]:
    yield
    api.clear_providers()


@pytest.fixture
def flags(store: Postgres) -> Postgres:
    """A source whose `feature_flags` are empty."""
    with store.connect() as connection:
        connection.execute(
            "CREATE TABLE feature_flags (name text, scope text, enabled boolean, updated_at timestamptz)"
        )
    return store


def _set(flags: Postgres, scope: str, *, enabled: bool | None, name: str = FLAG, at: str = "2026-01-01") -> None:
    with flags.connect() as connection:
        connection.execute("INSERT INTO feature_flags VALUES (%s, %s, %s, %s)", [name, scope, enabled, at])


def _enabled(**scope: object) -> bool:
    settings = Settings.load()
    return is_enabled(feature_flags(settings, postgres(settings)), FLAG, **scope)


@pytest.mark.parametrize("own", [True, False, None])
@pytest.mark.parametrize("everywhere", [True, False, None])
def test_is_enabled__organisation_and_global__the_organisation_wins(
    flags: Postgres, own: bool | None, everywhere: bool | None
) -> None:
    if everywhere is not None:
        _set(flags, "global", enabled=everywhere)
    if own is not None:
        _set(flags, "organisation:1", enabled=own)

    assert _enabled(organisation=1) is bool(everywhere if own is None else own)
    assert _enabled(organisation=2) is bool(everywhere)
    assert _enabled() is bool(everywhere)


def test_is_enabled__similar_scopes_and_names__are_others(flags: Postgres) -> None:
    for scope in ("organisation:11", "organisation:", "account:1", "organisation:1 ", "Organisation:1"):
        _set(flags, scope, enabled=True)
    _set(flags, "organisation:1", enabled=True, name="another_flag")

    assert _enabled(organisation=1) is False


def test_is_enabled__switched__is_seen_a_second_later_and_asked_for_no_more_often(
    flags: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    settings = Settings.load()
    client = feature_flags(settings, postgres(settings))
    _set(flags, "organisation:1", enabled=True)
    assert is_enabled(client, FLAG, organisation=1) is True

    _set(flags, "organisation:1", enabled=False, at="2026-01-02")
    _set(flags, "organisation:2", enabled=True)
    seen = []
    for clock[0] in (0.9, 1.1):
        seen.append([is_enabled(client, FLAG, organisation=number) for number in (1, 2)])
    assert seen == [[True, False], [False, True]]


def test_is_enabled__a_thousand_organisations__are_one_query(flags: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0))
    asked: list[str] = []
    answer = Postgres.query

    def query(self: Postgres, statement: LiteralString, **parameters: Any) -> list[TupleRow]:
        asked.append(statement)
        return answer(self, statement, **parameters)

    monkeypatch.setattr(Postgres, "query", query)
    _set(flags, "organisation:7", enabled=True)
    settings = Settings.load()
    client = feature_flags(settings, postgres(settings))

    on = [number for number in range(1000) if is_enabled(client, FLAG, organisation=number)]

    assert (on, len(asked)) == ([7], 1)


def test_is_enabled__two_rows_of_one_scope__the_newer_counts(flags: Postgres) -> None:
    _set(flags, "organisation:1", enabled=True, at="2026-01-02")
    _set(flags, "organisation:1", enabled=False, at="2026-01-01")

    assert _enabled(organisation=1) is True


def test_is_enabled__null__is_off(flags: Postgres) -> None:
    _set(flags, "organisation:1", enabled=None)

    assert _enabled(organisation=1) is False


@pytest.mark.parametrize("type_", ["text", "char(5)", "smallint"])
def test_is_enabled__booleans_of_another_type__are_read_strictly(flags: Postgres, type_: str) -> None:
    """Any text is true to Python, 'false' as well."""
    words = {"1": True, "0": False}
    if type_ != "smallint":
        words |= {
            "true": True,
            "t": True,
            "ON": True,
            "yes": True,
            "false": False,
            "f": False,
            "Off": False,
            "n": False,
        }
    with flags.connect() as connection:
        connection.execute(f"ALTER TABLE feature_flags ALTER COLUMN enabled TYPE {type_} USING NULL".encode())
        for number, word in enumerate(words):
            row = [FLAG, f"organisation:{number}", word]
            connection.execute("INSERT INTO feature_flags VALUES (%s, %s, %s, now())", row)

    assert [_enabled(organisation=number) for number in range(len(words))] == [*words.values()]


def test_is_enabled__text_that_is_no_boolean__is_unknown_for_its_scope_alone(flags: Postgres) -> None:
    with flags.connect() as connection:
        connection.execute("ALTER TABLE feature_flags ALTER COLUMN enabled TYPE text")
        for scope, word in (("organisation:1", "enabled"), ("organisation:2", "true")):
            connection.execute("INSERT INTO feature_flags VALUES (%s, %s, %s, now())", [FLAG, scope, word])

    assert _enabled(organisation=2) is True
    with pytest.raises(FlagsUnavailable, match="`enabled` of organisation:1 is neither true nor false"):
        _enabled(organisation=1)


def test_is_enabled__relation_is_absent__is_unknown_and_not_off(store: Postgres) -> None:
    with pytest.raises(FlagsUnavailable, match=f"the feature flag {FLAG} cannot be read: .*does not exist"):
        _enabled(organisation=1)


def test_is_enabled__postgres_does_not_answer__is_unknown_and_shows_no_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:S3CRET@127.0.0.1:1/product")

    with pytest.raises(FlagsUnavailable) as failure:
        _enabled(organisation=1)
    assert str(failure.value) == (
        f"the feature flag {FLAG} cannot be read: Postgres at postgresql://127.0.0.1:1/product:"
        " the server does not answer. Check DATABASE_URL, then run: analytics-pipeline doctor; nothing was changed"
    )


def test_relation__asked_for_anything_but_a_boolean__answers_the_default(flags: Postgres) -> None:
    _set(flags, "global", enabled=True)
    settings = Settings.load()
    client = feature_flags(settings, postgres(settings))

    details = [
        client.get_string_details(FLAG, "default"),
        client.get_integer_details(FLAG, 7),
        client.get_float_details(FLAG, 0.5),
        client.get_object_details(FLAG, {"a": 1}),
    ]

    assert [(item.value, item.error_code) for item in details] == [
        ("default", "TYPE_MISMATCH"),
        (7, "TYPE_MISMATCH"),
        (0.5, "TYPE_MISMATCH"),
        ({"a": 1}, "TYPE_MISMATCH"),
    ]


class CustomersProvider(InMemoryProvider):
    """On for organisation 1, broken for organisation 2; its flag is text for organisation 3."""

    def __init__(self) -> None:
        super().__init__({FLAG: InMemoryFlag("on", {"on": True, "off": False})})

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        organisation = evaluation_context.attributes.get("organisation") if evaluation_context else None
        if organisation == "2":
            raise RuntimeError("the flag service is down")
        if organisation == "3":
            return FlagResolutionDetails(value="yes")  # type: ignore[arg-type] # a provider that breaks its promise
        return FlagResolutionDetails(value=organisation == "1")


class NeedsArguments(InMemoryProvider):
    """Cannot be made without arguments."""

    def __init__(self, key: str) -> None:
        super().__init__({})


class CountsItsLives(CustomersProvider):
    """Remembers what was done to it, as one that holds a connection would feel it; its first life cannot begin."""

    lives: ClassVar[list[str]] = []
    broken: ClassVar[bool] = False

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        self.lives.append("begun")
        if CountsItsLives.broken:
            raise RuntimeError("the flag service cannot be reached")

    def shutdown(self) -> None:
        self.lives.append("ended")


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened to the customer's providers of the process."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/product")
    monkeypatch.setenv("FEATURE_FLAG_PROVIDER", f"{__name__}:CountsItsLives")
    monkeypatch.setattr(CountsItsLives, "lives", [])
    return CountsItsLives.lives


def test_feature_flags__asked_for_many_times__builds_the_provider_once(lives: list[str]) -> None:
    answers = [_enabled(organisation=1) for _ in range(5)]

    assert (answers, lives) == ([True] * 5, ["begun"])


def test_feature_flags__asked_for_from_threads__builds_the_provider_once(lives: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: _enabled(organisation=number % 2), range(32)))

    assert (answers, lives) == ([False, True] * 16, ["begun"])


def test_feature_flags__provider_could_not_begin__the_next_one_is_built_anew(
    lives: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountsItsLives, "broken", True)
    with pytest.raises(FlagsUnavailable) as failure:
        _enabled(organisation=1)
    assert str(failure.value) == (
        "the provider of feature flags (FEATURE_FLAG_PROVIDER) cannot begin: RuntimeError; its own log says why."
        " Nothing was changed"
    )
    monkeypatch.setattr(CountsItsLives, "broken", False)

    assert [_enabled(organisation=1), _enabled(organisation=1)] == [True, True]
    assert lives.count("begun") == 2


def test_feature_flags__relation_changed_since_the_last_tick__next_tick_sees_it_at_once(flags: Postgres) -> None:
    _set(flags, "organisation:1", enabled=True)
    before = _enabled(organisation=1)
    _set(flags, "organisation:1", enabled=False, at="2026-01-02")

    assert (before, _enabled(organisation=1)) == (True, False)


def test_feature_flags__customers_provider__answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/product")
    monkeypatch.setenv("FEATURE_FLAG_PROVIDER", f"{__name__}:CustomersProvider")

    assert [_enabled(organisation=number) for number in (1, 4)] == [True, False]


@pytest.mark.parametrize(("organisation", "reason"), [(2, "GENERAL"), (3, "TYPE_MISMATCH")])
def test_feature_flags__customers_provider_fails__is_unknown_and_not_off(
    monkeypatch: pytest.MonkeyPatch, organisation: int, reason: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/product")
    monkeypatch.setenv("FEATURE_FLAG_PROVIDER", f"{__name__}:CustomersProvider")

    with pytest.raises(FlagsUnavailable) as failure:
        _enabled(organisation=organisation)
    assert str(failure.value) == (
        f"the feature flag {FLAG} cannot be read: the provider of feature flags (FEATURE_FLAG_PROVIDER) failed with"
        f" {reason}; its own log says why; nothing was changed"
    )


@pytest.mark.parametrize("hangs_at", ["__init__", "initialize", "resolve_boolean_details"])
def test_feature_flags__customers_provider_hangs__is_given_up_and_named(
    lives: list[str], monkeypatch: pytest.MonkeyPatch, hangs_at: str
) -> None:
    monkeypatch.setattr(module, "_PROVIDER", Patience("the provider", 0.3))
    ends = threading.Event()
    monkeypatch.setattr(CountsItsLives, hangs_at, lambda *_, **__: ends.wait(30))
    try:
        with pytest.raises(FlagsUnavailable, match=r"the provider has not answered within 0\.3 s; nothing was changed"):
            _enabled(organisation=1)
    finally:
        ends.set()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_module.flags:Provider", "cannot be loaded: No module named 'no_such_module'"),
        (f"{__name__}:Missing", f"cannot be loaded: module '{__name__}' has no attribute 'Missing'"),
        (
            f"{__name__}:NeedsArguments",
            "cannot be loaded: NeedsArguments.__init__() missing 1 required positional argument: 'key'",
        ),
        ("os:getcwd", "is not an OpenFeature provider"),
        ("collections:OrderedDict", "is not an OpenFeature provider"),
    ],
)
def test_feature_flags__bad_class_path__is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/product")
    monkeypatch.setenv("FEATURE_FLAG_PROVIDER", path)

    with pytest.raises(ConfigurationError) as refusal:
        _enabled(organisation=1)
    assert refusal.value.problems == [("FEATURE_FLAG_PROVIDER", f"{path} {reason}")]
