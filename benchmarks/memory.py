"""How much memory a process needs while something is done."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

_SAMPLE_SECONDS = 0.02
_MEGABYTE = 1 << 20


@dataclass
class Peak:
    """The largest resident memory that was seen, code and mapped files included."""

    megabytes: float = 0.0


@contextmanager
def peak_memory(process: psutil.Process) -> Iterator[Peak]:
    """Samples the process fifty times a second; the result is complete at the end."""
    peak, done = Peak(), threading.Event()

    def sample() -> None:
        while True:
            peak.megabytes = max(peak.megabytes, process.memory_info().rss / _MEGABYTE)
            if done.wait(_SAMPLE_SECONDS):
                return

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        done.set()
        sampler.join()
