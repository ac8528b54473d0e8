"""The engine's public test cases, as identities and segments that the pipeline can be fed with.

The project does not ship them. They are looked for in `$ANALYTICS_TEST_DATA`, else next to the repository.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from flag_engine.context.types import EvaluationContext, SegmentContext
from flag_engine.segments.evaluator import get_enriched_context, is_context_in_segment
from flag_engine.segments.types import ContextValue

_DEFAULT_DIRECTORY = Path(__file__).parents[2] / "shared" / "data" / "engine-test-data"

# A string first, so that what looks like a comment inside one is left alone.
_STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_CANONICAL_INTEGER = re.compile(r"0|[1-9]\d*")


@dataclass(frozen=True)
class CaseIdentity:
    """`key` is None where the file leaves it to the engine."""

    identifier: str
    key: str | None
    traits: dict[str, ContextValue]


@dataclass(frozen=True)
class EngineCase:
    """One file. `expected`: the keys of the segments that its result names; `context`: what the engine is given."""

    name: str
    environment_key: str
    environment_name: str
    identity: CaseIdentity | None
    segments: tuple[SegmentContext[Any, Any], ...]
    expected: frozenset[str]
    context: EvaluationContext


class InexpressibleCaseError(Exception):
    """No document in the identities table gives the engine what this case gives it."""


def data_directory() -> Path:
    configured = os.environ.get("ANALYTICS_TEST_DATA")
    return Path(configured) if configured else _DEFAULT_DIRECTORY


def parse_commented_json(text: str) -> Any:
    return json.loads(_STRING_OR_COMMENT.sub(lambda found: found.group(1) or " ", text))


def load_cases(directory: Path) -> list[EngineCase]:
    paths = sorted(path for path in directory.iterdir() if path.suffix in {".json", ".jsonc"})
    return [_case(path.stem, parse_commented_json(path.read_text(encoding="utf-8"))) for path in paths]


def _case(name: str, content: dict[str, Any]) -> EngineCase:
    context = content["context"]
    segments = tuple(_segment(segment) for segment in (context.get("segments") or {}).values())
    named = [segment["name"] for segment in content["result"]["segments"]]
    return EngineCase(
        name=name,
        environment_key=context["environment"]["key"],
        environment_name=context["environment"]["name"],
        identity=_identity(context.get("identity")),
        segments=segments,
        expected=frozenset(segment["key"] for segment in segments if segment["name"] in named),
        context=context,
    )


def _segment(segment: dict[str, Any]) -> SegmentContext[Any, Any]:
    """Without the overrides: they say what a member gets, not who is one."""
    return {"key": segment["key"], "name": segment["name"], "rules": segment["rules"]}


def _identity(identity: dict[str, Any] | None) -> CaseIdentity | None:
    if identity is None:
        return None
    return CaseIdentity(identity["identifier"], identity.get("key"), identity.get("traits") or {})


def engine_verdicts(case: EngineCase) -> dict[str, bool]:
    """Segment key to what the engine says. Like the engine's own entry point, this completes a missing identity key."""
    context = get_enriched_context(case.context)
    return {segment["key"]: is_context_in_segment(context, segment) for segment in case.segments}


def identity_document(case: EngineCase, environment_api_key: str) -> dict[str, Any]:
    """The document of the identities table, in values that boto3's resource or TypeSerializer takes.

    Raises:
        InexpressibleCaseError: with the reason.
    """
    identity = _identity_of(case)
    return {
        "composite_key": f"{environment_api_key}_{identity.identifier}",
        "environment_api_key": environment_api_key,
        "identifier": identity.identifier,
        "identity_uuid": "00000000-0000-4000-8000-000000000000",
        "created_date": "2026-01-01T00:00:00+00:00",
        "identity_features": [],
        "identity_traits": [
            {"trait_key": key, "trait_value": Decimal(repr(value)) if isinstance(value, float) else value}
            for key, value in identity.traits.items()
        ],
        "system_traits": None,
        "django_id": _django_id(case, identity),
        "dashboard_alias": None,
    }


def as_stored(case: EngineCase, environment_api_key: str) -> EngineCase:
    """The same case as a reader of `identity_document` meets it, so that the engine can judge what is really stored.

    The identity lives in another environment and its key is derived, and whole floats have become integers, because
    DynamoDB has one kind of number.
    """
    identity = _identity_of(case)
    django_id = _django_id(case, identity)
    stored = CaseIdentity(
        identifier=identity.identifier,
        key=f"{environment_api_key}_{identity.identifier}" if django_id is None else str(django_id),
        traits={key: _as_stored_value(value) for key, value in identity.traits.items()},
    )
    context: EvaluationContext = {
        "environment": {"key": environment_api_key, "name": case.environment_name},
        "identity": {"identifier": stored.identifier, "key": stored.key or "", "traits": stored.traits},
    }
    return replace(case, environment_key=environment_api_key, identity=stored, context=context)


def _as_stored_value(value: ContextValue) -> ContextValue:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _identity_of(case: EngineCase) -> CaseIdentity:
    if case.identity is None:
        raise InexpressibleCaseError("it has no identity, and the table holds nothing else")
    return case.identity


def _django_id(case: EngineCase, identity: CaseIdentity) -> int | None:
    """What makes the engine's key come out as the file says: a number is a django_id, and nothing stands for a default.

    A text that reads as a number but is not how the number is written ("042") would come back changed.
    """
    if identity.key in (None, f"{case.environment_key}_{identity.identifier}"):
        return None
    if not _CANONICAL_INTEGER.fullmatch(identity.key or ""):
        raise InexpressibleCaseError(f"its key {identity.key!r} is neither an integer nor its composite key")
    return int(identity.key or "")


def inexpressible_cases(cases: Iterable[EngineCase]) -> dict[str, str]:
    """Name to reason, for the cases that no document can stand for."""
    return dict(_inexpressible(cases))


def _inexpressible(cases: Iterable[EngineCase]) -> Iterator[tuple[str, str]]:
    for case in cases:
        try:
            identity_document(case, case.environment_key)
        except InexpressibleCaseError as error:
            yield case.name, str(error)


def changed_by_storage(case: EngineCase, environment_api_key: str) -> dict[str, bool]:
    """The verdicts that differ once the case is stored in that environment."""
    before = engine_verdicts(case)
    after = engine_verdicts(as_stored(case, environment_api_key))
    return {key: verdict for key, verdict in after.items() if verdict != before[key]}
