"""A lock that knows its holder: what a signal or the garbage collector starts inside of it must not wait for it."""

import threading


class Hold:
    """A mutex for one thread at a time, usable under `threading.Condition`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0

    def is_held_here(self) -> bool:
        return self._holder == threading.get_ident()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        taken = self._lock.acquire(blocking, timeout)
        if taken:
            self._holder = threading.get_ident()
        return taken

    def release(self) -> None:
        self._holder = 0
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._lock.release()
