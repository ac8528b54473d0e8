"""The demo product's users: who they are and what the product knows about them."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from uuid import UUID

TraitValue = str | int | float | bool | None

_PLANS = (("free", 45), ("starter", 25), ("scale", 20), ("enterprise", 10))
_COUNTRIES = ("DE", "FR", "NL", "IE", "PL", "US", "US", "CA", "BR", "JP", "GB", "SE")
_COMPANY_SIZES = (1, 2, 3, 8, 12, 40, 50, 75, 120, 400, 1_500)
_PLATFORMS = ("ios", "android", "web", "web")
_TAGS = ("vip", "newsletter", "internal", "early-adopter", "needs-review", "partner")
_COLOURS = ("sea green", "Burgund rot", "mauve", "ocre", "noir")
_FEEDBACK = ("100% happy", "so-so", 'said "never again"', "it's fine \\ mostly", "")
# Every way in which a mail address has broken somebody's parser: plus, apostrophe, quotes, letters beyond ASCII.
_LOCAL_PARTS = (
    "zoë.brandt",
    "o'malley",
    "li+news",
    '"front desk"',
    "łukasz",
    "ana.souza",
    "山田",
    "kim+beta",
    "per_olof",
)
_DOMAINS = ("example.com", "example.org", "mail.example", "büro.example")

_FIRST_SIGNUP = datetime(2023, 1, 2, tzinfo=timezone.utc)
_LAST_SEEN_FROM = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Identity:
    """One user of one environment, as the feature-flag product stores it."""

    environment_api_key: str
    identifier: str
    identity_uuid: str
    created_date: str
    traits: dict[str, TraitValue] | None
    system_traits: dict[str, TraitValue] | None
    django_id: int | None
    dashboard_alias: str | None

    @property
    def composite_key(self) -> str:
        return f"{self.environment_api_key}_{self.identifier}"


def identities_of(environment_api_key: str, size: int, first_django_id: int) -> list[Identity]:
    """Its own seed for each environment: resizing one leaves the others as they were."""
    rng = random.Random(f"identities:{environment_api_key}")  # noqa: S311
    return [_identity(rng, environment_api_key, number, first_django_id + number) for number in range(size)]


def _identity(rng: random.Random, environment_api_key: str, number: int, django_id: int) -> Identity:
    created = _FIRST_SIGNUP + timedelta(seconds=rng.randrange(3 * 365 * 86_400), microseconds=rng.randrange(1_000_000))
    return Identity(
        environment_api_key=environment_api_key,
        identifier=_identifier(rng, number),
        identity_uuid=str(UUID(int=rng.getrandbits(128), version=4)),
        created_date=created.isoformat(),
        traits=_traits(rng, created),
        system_traits={"cohort": rng.choice(("power users", "at risk"))} if rng.random() < 0.08 else None,
        # Moved over from a relational store: the engine knows these users by that number, not by their composite key.
        django_id=django_id if rng.random() < 0.1 else None,
        dashboard_alias=f"Account {number}" if rng.random() < 0.03 else None,
    )


def _identifier(rng: random.Random, number: int) -> str:
    kind = "staff" if rng.random() < 0.05 else "user"
    return f"{kind}-{number:05d}-{rng.getrandbits(24):06x}"


def _traits(rng: random.Random, created: datetime) -> dict[str, TraitValue] | None:
    """Nobody home, an empty list, or a profile: stores hold all three."""
    luck = rng.random()
    if luck < 0.02:
        return None if luck < 0.01 else {}
    return _account(rng) | _person(rng, created) | _usage(rng) | _oddities(rng)


def _known(rng: random.Random, likelihoods: dict[str, tuple[float, TraitValue]]) -> dict[str, TraitValue]:
    """No caller of an SDK sends every trait for everybody."""
    return {name: value for name, (likelihood, value) in likelihoods.items() if rng.random() < likelihood}


def _account(rng: random.Random) -> dict[str, TraitValue]:
    plan = rng.choices([name for name, _ in _PLANS], [weight for _, weight in _PLANS])[0]
    cancelled = None if rng.random() < 0.5 else f"2026-0{rng.randint(1, 8)}-15T08:00:00Z"
    return {"plan": plan} | _known(
        rng,
        {
            "country": (0.9, rng.choice(_COUNTRIES)),
            "company_size": (0.6, rng.choice(_COMPANY_SIZES)),
            "mrr": (0.6, _monthly_revenue(rng, plan)),
            # Longer than any machine integer: such numbers are identifiers that somebody stored as a number.
            "account_number": (0.15, rng.randrange(2**64, 10 ** rng.randint(20, 24))),
            "cancelled_at": (0.25, cancelled),
        },
    )


def _monthly_revenue(rng: random.Random, plan: str) -> TraitValue:
    """Prices end in cents because DynamoDB cannot tell 49.0 from 49: a whole float would come back as an integer."""
    if plan == "free":
        return 0
    return {"starter": 49.99, "scale": 149.5}.get(plan, rng.randint(400, 4_000) + 0.25)


def _person(rng: random.Random, created: datetime) -> dict[str, TraitValue]:
    return _known(
        rng,
        {
            "signup_date": (0.75, created.date().isoformat()),
            "email": (0.6, f"{rng.choice(_LOCAL_PARTS)}{rng.randrange(10_000)}@{rng.choice(_DOMAINS)}"),
            "beta": (0.3, rng.random() < 0.5),
        },
    )


def _usage(rng: random.Random) -> dict[str, TraitValue]:
    seen = _LAST_SEEN_FROM + timedelta(seconds=rng.randrange(250 * 86_400))
    return _known(
        rng,
        {
            "platform": (0.7, rng.choice(_PLATFORMS)),
            "app_version": (0.7, f"{rng.randint(2, 4)}.{rng.randint(0, 12)}.{rng.randint(0, 9)}"),
            "sessions": (0.5, rng.randrange(400)),
            "last_seen": (0.5, seen.isoformat().replace("+00:00", "Z")),
            "tags": (0.35, ",".join(rng.sample(_TAGS, k=rng.randint(1, 3)))),
        },
    )


def _oddities(rng: random.Random) -> dict[str, TraitValue]:
    """Trait names are the callers' own: a space, a dot, a backtick, an umlaut and a percent sign."""
    return _known(
        rng,
        {
            "favourite colour": (0.08, rng.choice(_COLOURS)),
            "billing.cycle": (0.08, rng.choice(("monthly", "yearly"))),
            "nick`name": (0.08, rng.choice(("Ace", "`tick`", "Bo"))),
            "größe": (0.08, rng.randint(150, 205)),
            "discount %": (0.08, rng.choice((0, 5, 10, 25))),
            "feedback": (0.08, rng.choice(_FEEDBACK)),
        },
    )
