"""Feature flags through OpenFeature, so that a customer's own provider can answer instead of our relation."""

import importlib
from collections.abc import Mapping, Sequence
from typing import NoReturn

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.resources.postgres import Postgres

DOMAIN = "analytics_pipeline"
GLOBAL_SCOPE = "global"


class RelationProvider(AbstractProvider):
    """Answers from the source relation `feature_flags` (name, scope, enabled), read uncached at each evaluation.

    The evaluation context's attributes name the scopes: `{"organisation": "1"}` asks for `organisation:1`. The row of
    such a scope wins over the `global` one; a flag without either row is not found, and the caller's default holds.
    """

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self._postgres = postgres

    def get_metadata(self) -> Metadata:
        return Metadata(name="feature_flags relation")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        attributes = evaluation_context.attributes if evaluation_context else {}
        scopes = [f"{kind}:{value}" for kind, value in attributes.items()]
        rows = self._postgres.query(
            "SELECT enabled FROM {feature_flags} WHERE name = %(name)s AND scope = ANY(%(scopes)s)"
            " ORDER BY scope = %(global_scope)s, updated_at DESC LIMIT 1",
            name=flag_key,
            scopes=[*scopes, GLOBAL_SCOPE],
            global_scope=GLOBAL_SCOPE,
        )
        if not rows:
            raise FlagNotFoundError(f"feature_flags holds no row named {flag_key} for {scopes} or {GLOBAL_SCOPE}")
        return FlagResolutionDetails(value=bool(rows[0][0]), reason=Reason.TARGETING_MATCH)

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
    """The flag client: `FEATURE_FLAG_PROVIDER`'s class without arguments when set, else our relation."""
    provider = _customer_provider(settings.feature_flag_provider) or RelationProvider(postgres)
    api.set_provider_and_wait(provider, domain=DOMAIN)
    return api.get_client(domain=DOMAIN)


def is_enabled(flags: OpenFeatureClient, name: str, **scope: object) -> bool:
    """Whether the flag is on for the scope, e.g. `organisation=1`; off when unknown or when the provider fails."""
    context = EvaluationContext(attributes={kind: str(value) for kind, value in scope.items()})
    return flags.get_boolean_value(flag_key=name, default_value=False, evaluation_context=context)


def _customer_provider(path: str | None) -> AbstractProvider | None:
    if path is None:
        return None
    module, _, name = path.partition(":")
    try:
        provider = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError([("FEATURE_FLAG_PROVIDER", f"{path} cannot be loaded: {error}")]) from error
    if not isinstance(provider, AbstractProvider):
        raise ConfigurationError([("FEATURE_FLAG_PROVIDER", f"{path} is not an OpenFeature provider")])
    return provider
