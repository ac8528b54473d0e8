"""Identities and segments: people come, change and go, and so do segments, environments and the flag."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.simulation.flow import Flow
from tests.simulation.flows.segments_audit import SegmentsAuditor
from tests.simulation.history import History
from tests.simulation.source import ENVIRONMENTS, MEMBERSHIP, Segment

_keys = st.sampled_from([key for key, _ in ENVIRONMENTS.values()])
_people = st.sampled_from(["alice", "bob"])


def _condition(operator: str, value: str) -> list[dict[str, Any]]:
    conditions = [{"operator": operator, "property": "plan", "value": value}]
    return [{"type": "ALL", "rules": [], "conditions": conditions}]


_rules = st.sampled_from(
    [
        _condition("EQUAL", "pro"),
        _condition("NOT_EQUAL", "pro"),
        _condition("REGEX", "(?=pro)"),
        _condition("REGEX", "("),
        _condition("PERCENTAGE_SPLIT", "50"),
        [],
    ]
)

SEGMENTS = Flow(
    name="segments",
    looks=("segment_changes", "segments_closed_days"),
    assets=("raw_identities", "identity_snapshots", "segment_counts"),
    tables=("identities", "segment_counts"),
    auditor=SegmentsAuditor,
)


class Segments(History):
    """What happens to identities and segments alone."""

    def begin_segments(self, *, on: bool) -> None:
        self.source.set_flag(MEMBERSHIP, "organisation:1", enabled=on)
        self.source.save_segment(1, Segment(10, _condition("EQUAL", "pro")))

    @precondition(lambda self: SEGMENTS in self.flows)
    @rule(organisation=st.integers(1, 2), on=st.booleans())
    def switch_membership(self, organisation: int, *, on: bool) -> None:
        self.source.set_flag(MEMBERSHIP, f"organisation:{organisation}", enabled=on)

    @precondition(lambda self: SEGMENTS in self.flows)
    @rule(there=st.booleans())
    def environment(self, *, there: bool) -> None:
        (self.source.add_environment if there else self.source.remove_environment)(101)

    @precondition(lambda self: SEGMENTS in self.flows)
    @rule(key=_keys, name=_people, plan=st.sampled_from(["pro", "free", None]))
    def identity(self, key: str, name: str, plan: str | None) -> None:
        if plan is None:
            self.source.remove_identity(key, name)
        else:
            self.source.put_identity(key, name, {"plan": plan})

    @precondition(lambda self: SEGMENTS in self.flows)
    @rule(number=st.integers(1, 3), rules=_rules, is_deleted=st.booleans())
    def segment(self, number: int, rules: list[dict[str, Any]], *, is_deleted: bool) -> None:
        self.source.save_segment(number, Segment(20 if number == 3 else 10, rules, is_deleted))
