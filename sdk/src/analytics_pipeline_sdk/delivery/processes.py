"""Clients at the end of their process and when it forks. The interpreter is told when the first client is made."""

import atexit
import contextlib
import os
import sys
import time
import weakref
from typing import Protocol

_EXIT_SECONDS = 2.0


class Lived(Protocol):
    """A client, as far as processes are concerned."""

    def close_at_exit(self, timeout: float) -> None: ...
    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


class _Clients:
    """Clients that somebody holds, those to be closed at exit, and those that a fork in progress holds still."""

    def __init__(self) -> None:
        self.open: set[Lived] = set()
        self.living: weakref.WeakSet[Lived] = weakref.WeakSet()
        self.still: list[list[Lived]] = []
        self.is_told = False


_clients = _Clients()


def register(client: Lived) -> None:
    """Close the client at exit, even if nobody holds it any more, and keep it whole over forks."""
    _clients.living.add(client)
    _clients.open.add(client)
    if not _clients.is_told:
        _clients.is_told = True
        atexit.register(_at_exit)
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def forget(client: Lived) -> None:
    """The client is closed: nothing is left to do at exit."""
    _clients.open.discard(client)


def _at_exit() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for client in list(_clients.open):
        client.close_at_exit(max(0.0, deadline - time.monotonic()))


def _before() -> None:
    clients = sorted(_clients.living, key=id)
    for client in clients:
        client.before_fork()
    _clients.still.append(clients)


def _in_parent() -> None:
    for client in reversed(_clients.still.pop()):
        client.after_fork_in_parent()


def _in_child() -> None:
    clients = _clients.still.pop()
    _clients.still.clear()
    for client in clients:
        client.after_fork_in_child()
        _close_with_multiprocessing(client)


def _close_with_multiprocessing(client: Lived) -> None:
    """Processes of multiprocessing leave by os._exit, past atexit, but run finalizers that are made after the fork."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        with contextlib.suppress(Exception):
            util.register_after_fork(client, _finalize)


def _finalize(client: Lived) -> None:
    util = sys.modules["multiprocessing.util"]
    util.Finalize(client, client.close_at_exit, args=(_EXIT_SECONDS,), exitpriority=0)
