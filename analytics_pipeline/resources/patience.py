"""How long a peer is waited for whose own client knows no limit of the whole, or none at all."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

# A peer that never answers costs a thread for each question; after so many it is asked no more until one returns.
_WAITING_AT_ONCE = 16


class NoAnswer(ConnectionError):
    """A peer did not answer in time. What it was asked may still happen."""


@dataclass(frozen=True)
class Patience:
    """`seconds` for one answer of `peer`, from the first byte to the last."""

    peer: str
    seconds: float
    room: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_WAITING_AT_ONCE))

    def wait_for(self, ask: Callable[..., T], *args: Any, **options: Any) -> T:
        """Returns or raises as `ask` does. When it takes longer, it is left alone in its thread, which ends no process.

        Raises:
            NoAnswer: it has taken longer.
        """
        answer: Future[T] = Future()
        context = contextvars.copy_context()

        def asking() -> None:
            try:
                answer.set_result(context.run(ask, *args, **options))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                answer.set_exception(error)
            finally:
                self.room.release()

        if not self.room.acquire(timeout=self.seconds):
            raise self._no_answer()
        # Named like who waits for it, as whatever is told of a thread is told of its work.
        threading.Thread(target=asking, name=threading.current_thread().name, daemon=True).start()
        ended = threading.Event()
        answer.add_done_callback(lambda _: ended.set())
        if not ended.wait(self.seconds):
            raise self._no_answer()
        return answer.result()

    def _no_answer(self) -> NoAnswer:
        return NoAnswer(f"{self.peer} has not answered within {self.seconds:g} s")
