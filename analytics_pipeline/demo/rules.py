"""Shorthand for segment rules in the shape that segments.rules holds."""

from typing import Any

Rule = dict[str, Any]
Condition = dict[str, Any]


def when(trait: str, operator: str, value: str | list[str] | None = None) -> Condition:
    """One condition. Operators without an operand carry a null value, as an editor saves them."""
    return {"property": trait, "operator": operator, "value": value}


def _rule(kind: str, parts: tuple[Condition | Rule, ...]) -> Rule:
    return {
        "type": kind,
        "conditions": [part for part in parts if "operator" in part],
        "rules": [part for part in parts if "type" in part],
    }


def every(*parts: Condition | Rule) -> Rule:
    return _rule("ALL", parts)


def some(*parts: Condition | Rule) -> Rule:
    return _rule("ANY", parts)


def none_of(*parts: Condition | Rule) -> Rule:
    return _rule("NONE", parts)
