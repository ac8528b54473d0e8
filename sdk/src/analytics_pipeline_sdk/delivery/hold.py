"""A lock that says when it is entered twice: a signal or the garbage collector may run code in the midst of other code.

Such code must not wait for the lock that its own thread holds, and must not touch what the other is in the middle of.
"""

import threading


class Hold:
    """A reentrant lock with a condition. `with` gives whether this thread was inside already."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.RLock())
        self._depth = 0

    def __enter__(self) -> bool:
        self._condition.acquire()
        self._depth += 1
        return self._depth > 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._condition.release()

    def wait(self, timeout: float) -> bool:
        """Let others in until they notify, at most for `timeout` seconds; whether they did."""
        depth, self._depth = self._depth, 0
        try:
            return self._condition.wait(timeout)
        finally:
            self._depth = depth

    def notify_all(self) -> None:
        self._condition.notify_all()
