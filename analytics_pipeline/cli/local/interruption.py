"""Work that Ctrl-C ends at once, whatever it is doing."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import IO, TypeVar

from rich.console import Console

from analytics_pipeline.cli.output import new_console

T = TypeVar("T")

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_SECONDS = 0.1


def run_until_interrupted(work: Callable[[], T], clean_up: Callable[[Console], None]) -> T:
    """Do the work; at a signal clean up and end this process with 128 + its number, as shells do.

    The work has a thread of its own. Dagster takes signals only in the main thread, where it would turn Ctrl-C into a
    failed step and a stack trace; libraries swallow the exception. The work is not waited for, so it has to be such
    that a killed process does no harm. `clean_up` has to end soon; further signals do not stop it. It gets a console on
    stderr, and nothing else of this process is heard any more.
    """
    # Now: while a step runs, Dagster has both outputs of the whole process go into its logs.
    stderr = os.fdopen(os.dup(2), "w")
    received: list[int] = []
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised below, in the main thread
            future.set_exception(error)

    thread = threading.Thread(target=do, name="work", daemon=True)
    with _heard(lambda number, _: received.append(number)):
        thread.start()
        while thread.is_alive() and not received:
            thread.join(_LOOK_SECONDS)
        if received:
            clean_up(_only_voice(stderr))
            # Not sys.exit, which would wait for the threads of pools.
            os._exit(128 + received[0])
    return future.result()


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes that are started here, in this thread, do not hear the terminal's Ctrl-C; this one does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _only_voice(stderr: IO[str]) -> Console:
    """The work goes on until the process ends: it would draw its bars, and complain of what is taken from under it."""
    sys.stdout.flush()
    told = new_console(file=stderr)
    told.show_cursor()
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    return told


@contextmanager
def _heard(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Also where a shell made the process ignore Ctrl-C."""
    former = {number: signal.signal(number, handler) for number in ENDINGS}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)
