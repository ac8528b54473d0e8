"""The machine: whatever a product, its stores and the pipeline may do, in any order, each step drawn by hypothesis."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.simulation.flow import Flow
from tests.simulation.flows.ai_usage import AI_USAGE, AiUsage
from tests.simulation.flows.reporting import REPORTING, ZONES, Reporting
from tests.simulation.flows.segments import SEGMENTS, Segments

ALL = (REPORTING, AI_USAGE, SEGMENTS)
# A history of one flow costs a third, and more of its steps meet each other; what flows share is met by all together.
WORLDS = (*((REPORTING,), (AI_USAGE,), (SEGMENTS,)) * 2, ALL)

# Where nothing is on, or nothing is there, little can go wrong.
_mostly = st.sampled_from([True, True, True, False])


class Simulation(Reporting, AiUsage, Segments):
    """A history of some flows."""

    @initialize(
        flows=st.sampled_from(WORLDS),
        zone=st.sampled_from(ZONES),
        ai=_mostly,
        segments=_mostly,
        is_in_use=_mostly,
    )
    def begin(
        self,
        *,
        zone: str | None,
        ai: bool,
        segments: bool,
        is_in_use: bool = False,
        flows: tuple[Flow, ...] = ALL,
    ) -> None:
        """The flows that are not in this history are off, and nobody looks whether they have work."""
        self.set_in_motion(flows)
        self.begin_reporting(zone if REPORTING in flows else None)
        self.begin_ai_usage(on=ai and AI_USAGE in flows)
        self.begin_segments(on=segments and SEGMENTS in flows)
        if is_in_use:
            if SEGMENTS in flows:
                self.source.put_identity("key-a", "alice", {"plan": "pro"})
            self.be_in_use()
