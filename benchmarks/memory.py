"""How much memory and processor time processes need while something is done."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def processor_seconds() -> float:
    """The processor time that this process and all that it started have had, also those that have ended.

    Others' work makes everything take longer, and this nearly as long as before.
    """
    this, seconds = psutil.Process(), 0.0
    for process in [this, *this.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])
    return seconds
