"""Semantic versions in SQL, as the `semver` package, which the engine uses, reads and orders them."""

import semver

from analytics_pipeline.flows.segments.errors import Inexact
from analytics_pipeline.flows.segments.translation.subjects import Subject

_NUMBER = "(0|[1-9][0-9]*)"
_IDENTIFIER = "(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = (
    f"^{_NUMBER}[.]{_NUMBER}[.]{_NUMBER}(-{_IDENTIFIER}([.]{_IDENTIFIER})*)?([+][0-9a-zA-Z-]+([.][0-9a-zA-Z-]+)*)?$"
)
_LARGEST = 2**64 - 1


def compare(subject: Subject, operator: str, version: str) -> str | None:
    """Whether the subject is a version and compares so; None when `version` is none, which nothing compares with.

    A pre-release comes before its release, and the build part does not count.

    Raises:
        Inexact: two pre-releases would have to be compared.
    """
    try:
        parsed = semver.Version.parse(version)
    except ValueError:
        return None
    if parsed.prerelease or max(parsed.major, parsed.minor, parsed.patch) >= _LARGEST:
        raise Inexact(f"it compares with {version}, whose pre-releases SQL cannot order")
    # Taking the groups of the expression out would be five times as slow.
    numbers = [f"splitByChar('.', translate({subject.text}, '-+', '..'))[{n}]" for n in (1, 2, 3)]
    # A number beyond 64 bits is larger than all that it is compared with.
    parts = [f"ifNull(toUInt64OrNull({number}), {_LARGEST})" for number in numbers]
    after = f"substring({subject.text}, {' + '.join(f'length({number})' for number in numbers)} + 3, 1)"
    return (
        f"(match({subject.text}, '{_VERSION}') AND ({', '.join(parts)}, {after} != '-')"
        f" {operator} ({parsed.major}, {parsed.minor}, {parsed.patch}, 1))"
    )
