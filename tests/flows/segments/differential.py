"""Identities and segments side by side: what the pipeline counts, and what the engine says of each identity."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from flag_engine.segments.evaluator import is_context_in_segment

from analytics_pipeline.flows.identities.documents import IdentityRow, RowMapper
from analytics_pipeline.flows.identities.staging import COLUMNS, JSON_SETTINGS
from analytics_pipeline.flows.segments.counting import SegmentCount, count_segments
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse

DAY = datetime.now(timezone.utc).date()  # older rows expire
_CAPTURED = datetime.now(timezone.utc)


@dataclass(frozen=True)
class Person:
    """An identity of the source, in an environment of its own, so that each count is one verdict."""

    identifier: str
    traits: Mapping[str, Any]
    django_id: int | None = None


def environments_of(people: Sequence[Person]) -> list[Environment]:
    return [Environment(100 + n, f"env-{n}", f"Name {n % 3}", 10, 1) for n in range(len(people))]


def load(clickhouse: ClickHouse, people: Sequence[Person]) -> list[IdentityRow]:
    """Make the people the day's snapshot, through the pipeline's own mapping; returns the rows."""
    environments = environments_of(people)
    rows = [
        RowMapper(environment, DAY, _CAPTURED).read(
            msgspec.Raw(msgspec.json.encode(wire_document(person, environment.key)))
        )
        for person, environment in zip(people, environments, strict=True)
    ]
    clickhouse.execute("TRUNCATE TABLE identities")

    def body() -> Generator[bytes, None, None]:
        yield msgspec.json.Encoder().encode_lines(rows)

    clickhouse.insert_stream("identities", COLUMNS, body, fmt="JSONEachRow", settings=JSON_SETTINGS)
    return rows


def wire_document(person: Person, environment_key: str) -> dict[str, Any]:
    """The identity's document as DynamoDB answers it."""
    plain = {
        "composite_key": f"{environment_key}_{person.identifier}",
        "environment_api_key": environment_key,
        "identifier": person.identifier,
        "identity_traits": [{"trait_key": key, "trait_value": value} for key, value in person.traits.items()],
        "system_traits": None,
        "django_id": person.django_id,
    }
    return {key: TypeSerializer().serialize(value) for key, value in plain.items()}


def verdicts(people: Sequence[Person], segment: Segment) -> list[bool | str]:
    """The engine's verdict on each identity as its document holds it, or the name of what the engine raises."""
    return [
        _verdict(_context(person, environment), segment)
        for person, environment in zip(people, environments_of(people), strict=True)
    ]


def _verdict(context: Any, segment: Segment) -> bool | str:
    try:
        return is_context_in_segment(context, segment.context)
    except Exception as error:  # noqa: BLE001 - whatever the engine raises is its answer
        return type(error).__name__


def _context(person: Person, environment: Environment) -> Any:
    wire = wire_document(person, environment.key)
    document = {name: TypeDeserializer().deserialize(value) for name, value in wire.items()}
    key = document["composite_key"] if person.django_id is None else str(person.django_id)
    traits = {entry["trait_key"]: own_value(entry["trait_value"]) for entry in document["identity_traits"]}
    return {
        "environment": {"key": environment.key, "name": environment.name},
        "identity": {"identifier": person.identifier, "key": key, "traits": traits},
    }


def own_value(value: Any) -> Any:
    """What the product makes of a value of DynamoDB: a whole number is an int of any size, any other a float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: own_value(inner) for key, inner in value.items()}
    return [own_value(inner) for inner in value] if isinstance(value, list) else value


def count(
    clickhouse: ClickHouse, people: Sequence[Person], segments: Sequence[Segment]
) -> dict[int, list[SegmentCount]]:
    """The pipeline's counts by segment, in the order of the people."""
    counts: dict[int, list[SegmentCount]] = {segment.id: [] for segment in segments}
    for found in count_segments(clickhouse, DAY, segments, environments_of(people)):
        counts[found.segment_id].append(found)
    return {segment: sorted(found, key=lambda answer: answer.environment.id) for segment, found in counts.items()}


def differences(clickhouse: ClickHouse, people: Sequence[Person], segments: Sequence[Segment]) -> list[str]:
    """Where the pipeline says otherwise than the engine, in words; what the engine raises on must be failed."""
    load(clickhouse, people)
    counts = count(clickhouse, people, segments)
    return [
        f"{segment.rules} on {person}: {verdict}, but {answer.count} {answer.status} {answer.reason}"
        for segment in segments
        for person, verdict, answer in zip(people, verdicts(people, segment), counts[segment.id], strict=True)
        if (answer.status != "failed" if isinstance(verdict, str) else answer.count != int(verdict))
    ]
