"""Events and settings of the tests."""

from uuid import UUID

from analytics_pipeline_sdk import Settings
from analytics_pipeline_sdk.events import TaskStarted

USER, TASK = UUID(int=1), UUID(int=2)
# Everything that waits, a thousandth as long.
FAST = Settings(flush_interval=0.02, backoff_min=0.001, backoff_max=0.02, request_timeout=2.0, exit_deadline=2.0)


def event(number: int = 0) -> TaskStarted:
    return TaskStarted(task_id=UUID(int=number), user_id=USER)
