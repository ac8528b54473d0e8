"""AI usage: its setting and the flag of its history are switched on and off."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.simulation.flow import Draft, Flow
from tests.simulation.flows.ai_usage_audit import AiUsageAuditor
from tests.simulation.history import History
from tests.simulation.source import AI_HISTORY, AiEvent

_KINDS = {"first_response": 1, "conversation_resolved": 2, "reply_time": 3}
_UNKNOWN = 99


def _row(draft: Draft) -> AiEvent:
    if draft.relation == "ai_duo_chat_events":
        kind, path = (_UNKNOWN if draft.name is None else 1), ("1/2" if draft.hour % 2 else None)
        return AiEvent(draft.id, draft.moment, draft.who, kind, path, None, draft.now)
    kind = _UNKNOWN if draft.name is None else _KINDS.get(draft.name, 4)
    payload = {"language": "go", "suggestion_size": draft.hour} if draft.value else None
    return AiEvent(draft.id, draft.moment, draft.who, kind, "1/2/", payload, draft.now)


AI_USAGE = Flow(
    name="ai_usage",
    looks=("ai_usage_late_rows", "ai_usage_closed_days"),
    assets=("duo_chat_events", "code_suggestion_events", "ai_usage_daily"),
    tables=("duo_chat_events", "code_suggestion_events", "ai_usage_daily"),
    auditor=AiUsageAuditor,
    relations=("ai_duo_chat_events", "ai_code_suggestion_events"),
    row=_row,
)


class AiUsage(History):
    """What happens to AI usage alone."""

    def begin_ai_usage(self, *, on: bool) -> None:
        self.source.switch_ai(on=on)
        self.source.set_flag(AI_HISTORY, "global", enabled=on)

    @precondition(lambda self: AI_USAGE in self.flows)
    @rule(on=st.booleans())
    def switch_ai(self, *, on: bool) -> None:
        self.source.switch_ai(on=on)

    @precondition(lambda self: AI_USAGE in self.flows)
    @rule(on=st.booleans())
    def switch_history(self, *, on: bool) -> None:
        self.source.set_flag(AI_HISTORY, "global", enabled=on)
