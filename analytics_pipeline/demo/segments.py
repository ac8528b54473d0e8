"""The demo product's segments: what its product managers asked for, using every operator there is.

Most translate to SQL. A few cannot (text compared by order, a back-reference, a look-ahead) and show what happens then.
"""

from analytics_pipeline.demo.rules import Rule, every, none_of, some, when

Named = tuple[str, list[Rule]]

DELETED = frozenset({"Spring campaign 2025 (old)", "Testers, do not use", "Price experiment A"})


def catalogue() -> dict[str, tuple[Named, ...]]:
    """Project name to its segments, in the order in which they were made."""
    return {
        "Reader App": _reader_app(),
        "Publisher Portal": _publisher_portal(),
        "Patient Portal": _patient_portal(),
        "Clinic Scheduler": _clinic_scheduler(),
        "Matchmaking": _matchmaking(),
        "Storefront": _storefront(),
        "Sandbox": (("Testers, do not use", [every(when("tags", "CONTAINS", "internal"))]),),
        "Ledger": _ledger(),
    }


def _reader_app() -> tuple[Named, ...]:
    return (
        (
            "Enterprise in EU",
            [every(when("plan", "EQUAL", "enterprise"), when("country", "IN", ["DE", "FR", "NL", "IE", "PL", "SE"]))],
        ),
        (
            "iOS below 3.2.0",
            [every(when("platform", "EQUAL", "ios"), when("app_version", "LESS_THAN", "3.2.0:semver"))],
        ),
        ("Version 3.10.0 or newer", [every(when("app_version", "GREATER_THAN_INCLUSIVE", "3.10.0:semver"))]),
        ("Beta readers", [every(when("beta", "EQUAL", "true"))]),
        ("Rollout 10 %", [every(when("", "PERCENTAGE_SPLIT", "10"))]),
        ("Half of the countries", [every(when("country", "PERCENTAGE_SPLIT", "50"))]),
        ("Paying customers", [every(when("plan", "NOT_EQUAL", "free"))]),
        ("Signed up in 2025", [every(when("signup_date", "REGEX", "2025-"))]),
        ("Seen since March 2026", [every(when("last_seen", "GREATER_THAN_INCLUSIVE", "2026-03-01T00:00:00Z"))]),
        ("Every third session", [every(when("sessions", "MODULO", "3|0"))]),
        (
            "Power users or VIPs, nobody internal",
            [
                every(some(when("cohort", "EQUAL", "power users"), when("tags", "CONTAINS", "vip"))),
                every(none_of(when("tags", "CONTAINS", "internal"))),
            ],
        ),
        ("Spring campaign 2025 (old)", [every(when("signup_date", "LESS_THAN", "2025-06-01"))]),
    )


def _publisher_portal() -> tuple[Named, ...]:
    return (
        ("Companies of 50 or more", [every(when("company_size", "GREATER_THAN_INCLUSIVE", "50"))]),
        ("Micro companies", [every(when("company_size", "LESS_THAN", "10"))]),
        ("Pays over 99 a month", [every(when("mrr", "GREATER_THAN", "99"))]),
        ("Pays nothing", [every(when("mrr", "LESS_THAN_INCLUSIVE", "0"))]),
        ("Starter at list price", [every(when("mrr", "EQUAL", "49.99"))]),
        ("North America", [every(when("country", "IN", '["US", "CA"]'))]),
        ("Yearly billing", [every(when("billing.cycle", "EQUAL", "yearly"))]),
    )


def _patient_portal() -> tuple[Named, ...]:
    return (
        ("Has an e-mail address", [every(when("email", "IS_SET"))]),
        ("No e-mail address", [every(when("email", "IS_NOT_SET"))]),
        ("Plus addresses", [every(when("email", "REGEX", r"[^@]*\+[^@]*@"))]),
        ("Quoted addresses", [every(when("email", "CONTAINS", '"'))]),
        ("Says 100% or nothing", [every(some(when("feedback", "REGEX", "100%"), when("feedback", "EQUAL", "")))]),
        ("Left us", [every(when("cancelled_at", "IS_SET"))]),
        ("Live patients only", [every(when("$.environment.name", "EQUAL", "Production"))]),
        ("Not tagged for review", [every(when("tags", "NOT_CONTAINS", "needs-review"))]),
        (
            "Trial or small, outside Germany and France",
            [
                every(
                    some(when("plan", "EQUAL", "free"), when("company_size", "LESS_THAN_INCLUSIVE", "8")),
                    none_of(when("country", "EQUAL", "DE"), when("country", "EQUAL", "FR")),
                )
            ],
        ),
    )


def _clinic_scheduler() -> tuple[Named, ...]:
    return (
        ("Staff accounts", [every(when("$.identity.identifier", "REGEX", "staff-"))]),
        ("Everybody but staff", [every(when("$.identity.identifier", "NOT_CONTAINS", "staff"))]),
        ("Tall", [every(when("größe", "GREATER_THAN", "190"))]),
        ("Same letter twice at the start", [every(when("nick`name", "REGEX", r"(.).*\1"))]),
        ("Quarter of identifiers", [every(when("$.identity.identifier", "PERCENTAGE_SPLIT", "25"))]),
    )


def _matchmaking() -> tuple[Named, ...]:
    return (
        ("Everybody", [every()]),
        ("Players on 4.0.0", [every(when("app_version", "EQUAL", "4.0.0:semver"))]),
        ("Not on 4.0.0", [every(when("app_version", "NOT_EQUAL", "4.0.0:semver"))]),
        ("Up to 2.9.9", [every(when("app_version", "LESS_THAN_INCLUSIVE", "2.9.9:semver"))]),
        ("After 4.6.0", [every(when("app_version", "GREATER_THAN", "4.6.0:semver"))]),
        ("Phones", [every(when("platform", "IN", "ios,android"))]),
        ("At risk", [every(when("cohort", "EQUAL", "at risk"))]),
        ("Nickname with a backtick", [every(when("nick`name", "CONTAINS", "`"))]),
        ("Key split 30 %", [every(when("$.identity.key", "PERCENTAGE_SPLIT", "30"))]),
        ("Price experiment A", [every(when("", "PERCENTAGE_SPLIT", "50"))]),
    )


def _storefront() -> tuple[Named, ...]:
    return (
        ("Discounted", [every(when("discount %", "GREATER_THAN", "0"))]),
        ("Sea green or mauve", [every(when("favourite colour", "IN", ["sea green", "mauve"]))]),
        ("Seats 1, 2 or 3", [every(when("company_size", "IN", "1,2,3"))]),
        ("Neither beta nor internal", [none_of(when("beta", "EQUAL", "true"), when("tags", "CONTAINS", "internal"))]),
        ("Address without our domain", [every(when("email", "REGEX", r"(?!.*@mail\.example)"))]),
        ("Gift card winners", [every(when("gift_card", "EQUAL", "won"))]),
    )


def _ledger() -> tuple[Named, ...]:
    return (
        ("Long account numbers", [every(when("account_number", "REGEX", r"\d{23}"))]),
        ("Has an account number", [every(when("account_number", "IS_SET"))]),
        ("Auditors", [every(when("tags", "CONTAINS", "partner"), when("plan", "IN", "scale,enterprise"))]),
        (
            "Large or loyal",
            [
                some(
                    every(when("company_size", "GREATER_THAN", "100")),
                    every(when("signup_date", "REGEX", "2023-"), none_of(when("plan", "EQUAL", "free"))),
                )
            ],
        ),
    )
