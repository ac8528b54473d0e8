"""What the identity benchmarks work on: identities with eight traits, and fifty segments of every common kind."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.segments.source import Segment

ENVIRONMENTS = 4
SEGMENTS = 50
_PLANS = ("free", "starter", "pro", "enterprise")
_COUNTRIES = ("DE", "FR", "US", "GB", "IN", "BR", "JP", "SE", "PL", "ES")
_EPOCH = datetime(2024, 1, 1, tzinfo=timezone.utc)


def environment_key(number: int) -> str:
    return f"environment-{number}"


def traits(number: int) -> dict[str, Any]:
    """The eight traits of one identity, the same on every run."""
    chance = random.Random(number)  # noqa: S311 - a workload, not a secret
    return {
        "plan": chance.choice(_PLANS),
        "country": chance.choice(_COUNTRIES),
        "company_size": chance.randrange(1, 5_000),
        "mrr": round(chance.uniform(0, 900), 2) + 0.001,
        "beta": chance.random() < 0.1,
        "email": f"user-{number}@{chance.choice(('example.com', 'example.org', 'mail.test'))}",
        "app_version": f"{chance.randrange(1, 5)}.{chance.randrange(20)}.{chance.randrange(10)}",
        "signed_up": (_EPOCH + timedelta(minutes=chance.randrange(900_000))).isoformat(),
    }


def document(number: int, key: str) -> dict[str, Any]:
    """The identity's document in DynamoDB's wire format."""
    identifier = f"user-{number:09d}"
    return {
        "composite_key": {"S": f"{key}_{identifier}"},
        "environment_api_key": {"S": key},
        "identifier": {"S": identifier},
        "identity_uuid": {"S": f"00000000-0000-4000-8000-{number:012d}"},
        "created_date": {"S": "2024-01-01T00:00:00.000000+00:00"},
        "identity_features": {"L": []},
        "identity_traits": {
            "L": [
                {"M": {"trait_key": {"S": name}, "trait_value": _wire(value)}} for name, value in traits(number).items()
            ]
        },
        "system_traits": {"NULL": True},
        "django_id": {"NULL": True},
        "dashboard_alias": {"NULL": True},
    }


def _wire(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def segments() -> list[Segment]:
    """Fifty segments of one to three conditions."""
    return [Segment(number, f"Segment {number}", [_rule(number)]) for number in range(1, SEGMENTS + 1)]


def _rule(number: int) -> dict[str, Any]:
    chance = random.Random(1_000_000 + number)  # noqa: S311 - a workload, not a secret
    conditions = list(_conditions(chance))
    chosen = chance.sample(conditions, chance.randrange(1, 4))
    return {"type": ("ALL", "ALL", "ANY", "NONE")[number % 4], "conditions": chosen, "rules": []}


def _conditions(chance: random.Random) -> Iterator[dict[str, Any]]:
    yield _condition("EQUAL", "plan", chance.choice(_PLANS))
    yield _condition("NOT_EQUAL", "country", chance.choice(_COUNTRIES))
    yield _condition("IN", "country", ",".join(chance.sample(_COUNTRIES, 3)))
    yield _condition("GREATER_THAN", "company_size", str(chance.randrange(4_000)))
    yield _condition("LESS_THAN_INCLUSIVE", "mrr", f"{chance.uniform(0, 900):.2f}")
    yield _condition("EQUAL", "beta", "true")
    yield _condition("CONTAINS", "email", "example.")
    yield _condition("GREATER_THAN_INCLUSIVE", "app_version", f"{chance.randrange(1, 5)}.2.0:semver")
    yield _condition("IS_SET", "signed_up", None)
    yield _condition("PERCENTAGE_SPLIT", "", chance.randrange(1, 100))
    yield _condition("MODULO", "company_size", f"{chance.randrange(2, 9)}|1")


def _condition(operator: str, trait: str, value: Any) -> dict[str, Any]:
    return {"operator": operator, "property": trait, "value": value}
