"""Feature flags through OpenFeature, so that a customer's own provider can answer instead of our relation."""

import importlib
import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, NoReturn

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, FlagNotFoundError, TypeMismatchError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata, ProviderStatus

from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.resources.booleans import boolean
from analytics_pipeline.resources.patience import NoAnswer, Patience
from analytics_pipeline.resources.postgres import Postgres

DOMAIN = "analytics_pipeline"
GLOBAL_SCOPE = "global"
_FRESH_SECONDS = 1.0
# Sensors and schedules look from several threads of one process.
_BUILDING = Lock()
_PROVIDER = Patience("the provider of feature flags (FEATURE_FLAG_PROVIDER)", 10)
_USABLE = (ProviderStatus.READY, ProviderStatus.STALE)


class FlagsUnavailable(Exception):
    """The provider cannot say whether a flag is on."""


class RelationProvider(AbstractProvider):
    """Answers from the source relation `feature_flags` (name, scope, enabled), as it was at most a second ago.

    The evaluation context's attributes name the scopes: `{"organisation": "1"}` asks for `organisation:1`. The row of
    such a scope wins over the `global` one; a flag without either row is not found, and the caller's default holds.
    """

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self._postgres = postgres
        self._read: dict[str, tuple[float, dict[str, object]]] = {}

    def get_metadata(self) -> Metadata:
        return Metadata(name="feature_flags relation")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        attributes = evaluation_context.attributes if evaluation_context else {}
        scopes = [*(f"{kind}:{value}" for kind, value in attributes.items()), GLOBAL_SCOPE]
        by_scope = self._by_scope(flag_key)
        for scope in scopes:
            if scope in by_scope:
                value = boolean(by_scope[scope], f"`enabled` of {scope}")
                return FlagResolutionDetails(value=value, reason=Reason.TARGETING_MATCH)
        raise FlagNotFoundError(f"feature_flags holds no row named {flag_key} for {', '.join(scopes)}")

    def _by_scope(self, flag_key: str) -> dict[str, object]:
        """The flag's rows. Evaluating it for a thousand tenants in a row is one query, not a thousand."""
        read_at, by_scope = self._read.get(flag_key, (-math.inf, {}))
        if time.monotonic() - read_at > _FRESH_SECONDS:
            rows = self._postgres.query(
                "SELECT scope, enabled FROM {feature_flags} WHERE name = %(name)s ORDER BY updated_at", name=flag_key
            )
            by_scope = dict(rows)
            self._read[flag_key] = (time.monotonic(), by_scope)
        return by_scope

    def look_through(self, postgres: Postgres) -> None:
        """Read the relation anew at the next question, and from then on the way that this one does."""
        self._postgres, self._read = postgres, {}

    def _only_booleans(self) -> NoReturn:
        raise TypeMismatchError("the feature_flags relation holds only booleans")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        self._only_booleans()

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        self._only_booleans()

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        self._only_booleans()

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        self._only_booleans()


def feature_flags(settings: Settings, postgres: Postgres) -> OpenFeatureClient:
    """The flag client: `FEATURE_FLAG_PROVIDER`'s class without arguments when set, else our relation.

    The provider is built once per process, because a customer's one keeps connections and a cache. One that could not
    begin, or gave up, is replaced by a new one. What our relation said before this call is forgotten.

    Raises:
        ConfigurationError: there is no such provider.
        FlagsUnavailable: it cannot begin, or does not begin in time.
    """
    client = api.get_client(domain=DOMAIN)
    wanted = (settings.feature_flag_provider, postgres.url, tuple(sorted(postgres.relations.items())))
    with _BUILDING:
        if client.get_provider_status() not in _USABLE:
            _provider.cache_clear()
        provider = _begun(client, *wanted)
    if isinstance(provider, RelationProvider):
        provider.look_through(postgres)
    return client


def _begun(client: OpenFeatureClient, *wanted: Any) -> AbstractProvider:
    try:
        provider = _provider(*wanted)
        if client.provider is not provider:
            _PROVIDER.wait_for(api.set_provider_and_wait, provider, domain=DOMAIN)
    except NoAnswer as error:
        raise FlagsUnavailable(f"{error}; nothing was changed") from None
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - a customer's code may raise anything
        # Its text may hold what the provider was to connect with.
        told = f"{_PROVIDER.peer} cannot begin: {type(error).__name__}; its own log says why"
        raise FlagsUnavailable(f"{told}. Nothing was changed") from None
    return provider


@lru_cache(maxsize=1)
def _provider(path: str | None, url: str, relations: tuple[tuple[str, str], ...]) -> AbstractProvider:
    if path is None:
        return RelationProvider(Postgres(url, dict(relations)))
    return _PROVIDER.wait_for(_customer_provider, path)


def is_enabled(flags: OpenFeatureClient, name: str, **scope: object) -> bool:
    """Whether the flag is on for the scope, e.g. `organisation=1`; off when nobody knows the flag.

    Raises:
        FlagsUnavailable: the provider fails. That is not "off": what is off gets purged.
    """
    context = EvaluationContext(attributes={kind: str(value) for kind, value in scope.items()})
    try:
        details = _asked(flags, flag_key=name, default_value=False, evaluation_context=context)
    except NoAnswer as error:
        raise FlagsUnavailable(f"the feature flag {name} cannot be read: {error}; nothing was changed") from None
    if details.error_code not in (None, ErrorCode.FLAG_NOT_FOUND):
        reason = _reason(flags, details)
        raise FlagsUnavailable(f"the feature flag {name} cannot be read: {reason}; nothing was changed")
    return details.value


def _asked(flags: OpenFeatureClient, **question: Any) -> FlagEvaluationDetails[bool]:
    """Our relation's sessions know their limits; of a customer's provider nobody knows any."""
    if isinstance(flags.provider, RelationProvider):
        return flags.get_boolean_details(**question)
    return _PROVIDER.wait_for(flags.get_boolean_details, **question)


def _reason(flags: OpenFeatureClient, details: FlagEvaluationDetails[bool]) -> str:
    """Why there is no answer. What a customer's provider says may hold addresses and keys: its own log has it."""
    if not isinstance(flags.provider, RelationProvider):
        return f"{_PROVIDER.peer} failed with {details.error_code}; its own log says why"
    return " ".join((details.error_message or "the provider gives no reason").split())


def _customer_provider(path: str) -> AbstractProvider:
    module, _, name = path.partition(":")
    try:
        provider = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError([("FEATURE_FLAG_PROVIDER", f"{path} cannot be loaded: {error}")]) from error
    if not isinstance(provider, AbstractProvider):
        raise ConfigurationError([("FEATURE_FLAG_PROVIDER", f"{path} is not an OpenFeature provider")])
    return provider
