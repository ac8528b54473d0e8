"""The demo product's support desks: accounts all over the earth, and what happened there since clocks last changed.

It ends with the day that the demo is loaded on. The same day has the same events on every machine; a later load adds
the days since.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

ROLLUP_FLAG = "reporting_events_rollup"
# Every zone that changes its clocks has done so at least once in this time.
DAYS = 240
_ZONES = (
    ("Harbour Health US", "America/New_York"),
    ("Lumen Books India", "Asia/Kolkata"),
    ("Tidewater Island", "Australia/Lord_Howe"),
    ("Quill Pacific", "Pacific/Apia"),
)
_AGENTS, _INBOXES = range(1, 5), range(1, 4)


@dataclass(frozen=True)
class DemoAccount:
    id: int
    name: str
    settings: dict[str, str]


@dataclass(frozen=True)
class Conversation:
    id: int
    account_id: int
    inbox_id: int
    assignee_id: int | None
    created_at: datetime


@dataclass(frozen=True)
class ReportingEvent:
    id: int
    name: str
    value: float
    value_in_business_hours: float
    account_id: int
    inbox_id: int
    user_id: int | None
    conversation_id: int
    event_start_time: datetime
    event_end_time: datetime
    created_at: datetime
    updated_at: datetime


def accounts() -> tuple[DemoAccount, ...]:
    """One for each of four zones, and one that has not chosen any."""
    zoned = [DemoAccount(n, name, {"reporting_timezone": zone}) for n, (name, zone) in enumerate(_ZONES, start=1)]
    return (*zoned, DemoAccount(len(zoned) + 1, "No zone yet", {}))


def support(now: datetime) -> tuple[tuple[Conversation, ...], tuple[ReportingEvent, ...]]:
    """Conversations and reporting events of all accounts up to `now`, each row written when it happened."""
    conversations: list[Conversation] = []
    events: list[ReportingEvent] = []
    for account in accounts():
        zone = ZoneInfo(account.settings.get("reporting_timezone", "UTC"))
        for age in range(DAYS, -2, -1):
            day = now.date() - timedelta(days=age)
            for conversation, dice in _conversations(account, day, zone):
                found = list(_events(conversation, dice))
                if conversation.created_at < now and all(event.created_at < now for event in found):
                    conversations.append(conversation)
                    events += found
    return tuple(conversations), tuple(events)


def _conversations(account: DemoAccount, day: date, zone: ZoneInfo) -> Iterator[tuple[Conversation, random.Random]]:
    dice = random.Random(f"demo:support:{account.id}:{day}")  # noqa: S311 - a demo, not a secret
    for number in range(dice.randint(2, 5) if day.weekday() < 5 else dice.randint(0, 2)):
        # A few write in the night, so that it matters whose midnight ends the day.
        hour = dice.choice((0, 23)) if dice.random() < 0.2 else dice.randint(8, 18)
        local = datetime.combine(day, time(hour, dice.randrange(60), dice.randrange(60)), zone)
        id_ = (account.id * 10_000_000 + day.toordinal()) * 10 + number
        assignee = dice.choice((*_AGENTS, None))
        yield Conversation(id_, account.id, dice.choice(_INBOXES), assignee, local.astimezone(timezone.utc)), dice


def _events(conversation: Conversation, dice: random.Random) -> Iterator[ReportingEvent]:
    if conversation.assignee_id is None:
        names = [dice.choice(("conversation_bot_resolved", "conversation_bot_handoff"))]
    else:
        names = ["first_response", *["reply_time"] * dice.randint(0, 2)]
        names += ["conversation_resolved"] if dice.random() < 0.8 else []
    for number, name in enumerate(names):
        longest = 86_400 if name == "conversation_resolved" else 1_800
        yield _event(conversation, number, name, float(dice.randint(longest // 20, longest)))


def _event(c: Conversation, number: int, name: str, seconds: float) -> ReportingEvent:
    end = c.created_at + timedelta(seconds=seconds)
    return ReportingEvent(
        id=c.id * 10 + number,
        name=name,
        value=seconds,
        value_in_business_hours=round(seconds * 0.6, 1),
        account_id=c.account_id,
        inbox_id=c.inbox_id,
        user_id=c.assignee_id,
        conversation_id=c.id,
        event_start_time=c.created_at,
        event_end_time=end,
        created_at=end,
        updated_at=end,
    )
