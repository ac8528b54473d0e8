"""The auditor of AI usage: copies are the product's events, daily figures and answers are counted from them."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from tests.simulation import truth
from tests.simulation.auditor import Auditor, Copy, difference
from tests.simulation.readers import ReadAiUsage
from tests.simulation.source import AI_HISTORY, AiEvent

_COPIES = {
    "ai_duo_chat_events": (
        "duo_chat_events",
        "id, user_id, event, namespace_path, timestamp, created_at, '', 0",
    ),
    "ai_code_suggestion_events": (
        "code_suggestion_events",
        "id, user_id, event, namespace_path, timestamp, created_at, language, suggestion_size",
    ),
}


class AiUsageAuditor(Auditor):
    def findings(self) -> Iterator[str]:
        epochs = self.stores.ledger("SELECT 1 FROM analytics_pipeline.enablements WHERE feature = 'ai_usage'")
        answer = self.pipeline.do(ReadAiUsage(self.start, self.today))
        if not self.source.state.ai_is_on:
            if answer is not None:
                yield f"AI usage is switched off and answers {answer}"
            return
        if not epochs and not self.source.state.flags.get((AI_HISTORY, "global"), False):
            return
        rows: dict[str, list[AiEvent]] = {relation: truth.ai_events(self.state, relation) for relation in _COPIES}
        first = min((truth.utc_day(row) for own in rows.values() for row in own), default=self.today)
        first = max(first, self.start)
        for relation, (table, columns) in _COPIES.items():
            refused = truth.refused(self.state, relation)
            yield from self.copies(Copy(table, "timestamp", columns, rows[relation], refused), first)
        yield from self._figures(first)
        yield from self._usage_as_read(answer, first)

    def _figures(self, first: date) -> Iterator[str]:
        found = {
            tuple(row[:6]): tuple(row[6:]) for row in self.stores.rows(_USAGE + self.stores.whole("ai_usage_daily"))
        }
        expected = truth.usage(self.state)
        if found != expected:
            yield f"ai_usage_daily: {difference({*found.items()}, {*expected.items()})}"
        counted = {day for (day,) in self.stores.ledger("SELECT day FROM analytics_pipeline.ai_usage_days")}
        for day in truth.days_between(first, self.today):
            if day not in counted:
                yield f"ai_usage_daily of {day} was never counted"

    def _usage_as_read(self, answer: Any, first: date) -> Iterator[str]:
        if answer is None:
            yield "AI usage is switched on and does not answer"
            return
        events, missing = answer
        if any(last >= first for _, last in missing):
            yield f"AI usage: {missing} are missing"
        expected = truth.happened(self.state, truth.days_between(self.start, self.today))
        if events != dict(expected):
            yield f"AI usage reads {events} instead of {dict(expected)}"


_USAGE = """
    SELECT date, feature, event, user_id, namespace_path, language, occurrences, suggestion_size_sum, last_at
    FROM """
