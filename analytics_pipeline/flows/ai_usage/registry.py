"""Every AI event that is known: the single source of truth for ids, names and attributes.

Ids and names are never used twice: an event that is no longer sent is marked deprecated and keeps both. An id that is
not here is unknown; its rows become dead letters until it is registered, and then come in with their day's next copy.
"""

from collections import Counter
from dataclasses import dataclass

from analytics_pipeline.flows.ai_usage.errors import InvalidRegistry

_SUGGESTION = (
    "unique_tracking_id",
    "suggestion_size",
    "language",
    "branch_name",
    "ide_name",
    "ide_vendor",
    "ide_version",
    "extension_name",
    "extension_version",
    "language_server_version",
    "model_name",
    "model_engine",
)
_JOB = ("job_id", "project_id", "pipeline_id", "merge_request_id")
_SESSION = ("project_id", "session_id", "flow_type", "environment")


@dataclass(frozen=True)
class AiEvent:
    """An event: its id over all features, and in its feature's own relation where that numbers them differently."""

    feature: str
    name: str
    id: int
    attributes: tuple[str, ...] = ()
    own_id: int | None = None
    is_deprecated: bool = False

    @property
    def source_id(self) -> int:
        """The value of the column `event` in the relation of its feature."""
        return self.id if self.own_id is None else self.own_id


def _agent(name: str, id_: int) -> AiEvent:
    return AiEvent("agent_platform", f"agent_platform_session_{name}", id_, _SESSION)


def _review(name: str, id_: int) -> AiEvent:
    return AiEvent("code_review", name, id_)


EVENTS: tuple[AiEvent, ...] = (
    AiEvent("code_suggestions", "code_suggestions_requested", 1, is_deprecated=True),
    AiEvent("code_suggestions", "code_suggestion_shown_in_ide", 2, _SUGGESTION),
    AiEvent("code_suggestions", "code_suggestion_accepted_in_ide", 3, _SUGGESTION),
    AiEvent("code_suggestions", "code_suggestion_rejected_in_ide", 4, _SUGGESTION),
    AiEvent("code_suggestions", "code_suggestion_direct_access_token_refresh", 5, is_deprecated=True),
    AiEvent("chat", "request_duo_chat_response", 6, own_id=1),
    AiEvent("troubleshoot_job", "troubleshoot_job", 7, _JOB),
    _agent("created", 8),
    _agent("started", 9),
    _agent("finished", 19),
    _agent("dropped", 20),
    _agent("stopped", 21),
    _agent("resumed", 22),
    _review("encounter_duo_code_review_error_during_review", 10),
    _review("find_no_issues_duo_code_review_after_review", 11),
    _review("find_nothing_to_review_duo_code_review_on_mr", 12),
    _review("post_comment_duo_code_review_on_diff", 13),
    _review("react_thumbs_up_on_duo_code_review_comment", 14),
    _review("react_thumbs_down_on_duo_code_review_comment", 15),
    _review("request_review_duo_code_review_on_mr_by_author", 16),
    _review("request_review_duo_code_review_on_mr_by_non_author", 17),
    _review("excluded_files_from_duo_code_review", 18),
)


def events_of(feature: str, events: tuple[AiEvent, ...] = EVENTS) -> dict[int, AiEvent]:
    """The feature's events by their id in the feature's own relation, deprecated ones included."""
    return {event.source_id: event for event in events if event.feature == feature}


def check(events: tuple[AiEvent, ...]) -> None:
    """Refuse a registry in which an id or a name means two things.

    Raises:
        InvalidRegistry: with every contradiction.
    """
    uses = (
        *(("id", event.id) for event in events),
        *(("name", event.name) for event in events),
        *((f"id in the relation of {event.feature}", event.source_id) for event in events),
    )
    twice = [f"{what} {value} is used {count} times" for (what, value), count in Counter(uses).items() if count > 1]
    wrong = [f"{event.name}: the id {event.id} is no UInt16" for event in events if not 0 < event.id < 2**16]
    if twice or wrong:
        raise InvalidRegistry("; ".join([*twice, *wrong]))
